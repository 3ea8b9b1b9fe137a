//! Completions, the API before chat: its request, and its answers out of what a chat would say (OpenAI API reference, completions, read 2026-11).

use super::answer::{Block, Kind, Said};
use super::ask::{Ask, Wrong};
use super::json::{Tree, quoted};
use super::voice::Voice;

pub(super) fn read<'a>(body: &'a Tree<'a>) -> Result<Ask<'a>, Wrong> {
    let missing = |field: &str| {
        let message = format!("you must provide a {field} parameter");
        Wrong::new(field, "missing_required_parameter", message)
    };
    let mut ask = Ask {
        model: body.text_of("model").ok_or_else(|| missing("model"))?,
        stream: body.get("stream").is_some_and(Tree::is_true),
        include_usage: body
            .get("stream_options")
            .and_then(|o| o.get("include_usage"))
            .is_some_and(Tree::is_true),
        n: body.get("n").and_then(Tree::whole).unwrap_or(1) as usize,
        max_tokens: body.get("max_tokens").and_then(Tree::whole),
        text: true,
        ..Ask::default()
    };
    match body.get("stop") {
        Some(Tree::Text(stop)) => ask.stops.push(stop),
        Some(list) => ask.stops.extend(list.items().iter().filter_map(Tree::text)),
        None => {}
    }
    let prompt = body.get("prompt").ok_or_else(|| missing("prompt"))?;
    ask.prompt.push_tree(prompt);
    match prompt {
        Tree::Text(text) => ask.heard(text),
        list => {
            // Several prompts are as many answers, each in `n` wordings; numbers are the tokens of one, lists of them of several.
            ask.n *= prompts(list);
            let texts = list.items().iter().filter_map(Tree::text);
            texts.for_each(|text| ask.heard(text));
        }
    }
    Ok(ask)
}

/// How many prompts a list is.
fn prompts(list: &Tree<'_>) -> usize {
    match list.items() {
        [Tree::Text(_), ..] => list.items().len(),
        [first, ..] if !first.items().is_empty() => list.items().len(),
        _ => 1,
    }
}

impl Voice {
    /// A chunk of this API: a piece of text, or the end of a choice.
    pub(super) fn text_chunk(&self, choice: u32, text: &str, finish: &str, out: &mut Vec<u8>) {
        let nothing = match self.include_usage {
            true => ",\"usage\":null",
            false => "",
        };
        let chunk = format!(
            "data: {}\"choices\":[{}]{nothing}}}\n\n",
            self.start,
            text_choice(choice as usize, text, finish)
        );
        out.extend_from_slice(chunk.as_bytes());
    }

    pub(super) fn text_whole(&self) -> Vec<u8> {
        let said = |(at, said): (usize, &Said)| {
            let words = |b: &&Block| matches!(b.kind, Kind::Text | Kind::Refusal);
            let text: String = said.blocks.iter().filter(words).map(|b| &*b.text).collect();
            text_choice(at, &text, &quoted(super::voice::finish(&said.stop)))
        };
        let choices: Vec<String> = self.said.iter().enumerate().map(said).collect();
        let (start, usage) = (&self.start, self.chat_usage());
        format!(
            "{start}\"choices\":[{}],\"usage\":{usage}}}",
            choices.join(",")
        )
        .into_bytes()
    }
}

fn text_choice(index: usize, text: &str, finish: &str) -> String {
    let text = quoted(text);
    format!("{{\"text\":{text},\"index\":{index},\"logprobs\":null,\"finish_reason\":{finish}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_of_a_list_is_answered_be_it_words_or_tokens() {
        for (prompt, answers) in [
            (r#""a""#, 2),
            (r#"["a","b","c"]"#, 6),
            ("[1,2,3]", 2),
            ("[[1,2],[3]]", 4),
        ] {
            let body = format!(r#"{{"model":"m","n":2,"prompt":{prompt}}}"#);
            let tree = Tree::parse(body.as_bytes()).expect("JSON");
            assert_eq!(read(&tree).expect("a request").n, answers, "{prompt}");
        }
    }
}
