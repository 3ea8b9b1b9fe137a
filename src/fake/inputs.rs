//! What a stored answer of Responses answered, page by page (OpenAI API reference, list input items, read 2026-11).

use super::answer::letters;
use super::ask::Wrong;
use super::route::query_value;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

const LIMIT: usize = 20;
const LIMIT_MAX: usize = 100;

/// The page that `query` asks for of `input`, a JSON list without its brackets; `id` is the answer's.
pub(super) fn page(input: &[u8], id: &str, query: &str) -> Result<String, Wrong> {
    let list = [&b"["[..], input, &b"]"[..]].concat();
    let mut items: Vec<Value> = serde_json::from_slice(&list).unwrap_or_default();
    for (number, item) in (0..).zip(&mut items) {
        complete(item, xxh3_64(id.as_bytes()).wrapping_add(number));
    }
    match query_value(query, "order") {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(wrong("order", "expected one of 'asc' or 'desc'")),
    }
    let limit = match query_value(query, "limit").map(str::parse) {
        None => LIMIT,
        Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
        Some(_) => return Err(wrong("limit", "expected an integer from 1 to 100")),
    };
    if let Some(after) = query_value(query, "after") {
        let at = items.iter().position(|item| item["id"] == after);
        let at = at.ok_or_else(|| wrong("after", "no such item"))?;
        items.drain(..=at);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let edge = |item: Option<&Value>| item.map_or(Value::Null, |i| i["id"].clone());
    let page = json!({
        "object": "list", "first_id": edge(items.first()), "last_id": edge(items.last()), "has_more": more, "data": items,
    });
    Ok(page.to_string())
}

fn wrong(field: &'static str, said: &str) -> Wrong {
    Wrong::new(
        field,
        "invalid_value",
        format!("Invalid '{field}': {said}."),
    )
}

/// An item as it is told: with an id, a type, and its text in parts.
fn complete(item: &mut Value, seed: u64) {
    let Some(members) = item.as_object_mut() else {
        return;
    };
    let kind = members.entry("type").or_insert_with(|| json!("message"));
    let is_message = kind == "message";
    members
        .entry("id")
        .or_insert_with(|| json!(format!("msg_{}", letters(seed, 24))));
    members
        .entry("status")
        .or_insert_with(|| json!("completed"));
    let said = members.get("content").and_then(Value::as_str);
    if let Some(text) = said.filter(|_| is_message).map(str::to_owned) {
        let parts = json!([{"type": "input_text", "text": text}]);
        members.insert("content".to_owned(), parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_after_their_last_item_in_both_orders() {
        let input: Vec<String> = (0..5)
            .map(|n| format!(r#"{{"role":"user","content":"n{n}"}}"#))
            .collect();
        let input = input.join(",");
        for order in ["asc", "desc"] {
            let (mut texts, mut after) = (Vec::new(), String::new());
            loop {
                let query = format!("order={order}&limit=2{after}");
                let page = page(input.as_bytes(), "resp_1", &query)
                    .ok()
                    .expect("a page");
                let page: Value = serde_json::from_str(&page).expect("JSON");
                for item in page["data"].as_array().expect("items") {
                    texts.push(item["content"][0]["text"].clone());
                }
                if page["has_more"] == false {
                    break;
                }
                after = format!("&after={}", page["last_id"].as_str().expect("an id"));
            }
            if order == "desc" {
                texts.reverse();
            }
            assert_eq!(texts, ["n0", "n1", "n2", "n3", "n4"]);
        }
        for query in ["limit=0", "limit=x", "order=up", "after=msg_no"] {
            assert!(page(input.as_bytes(), "resp_1", query).is_err(), "{query}");
        }
    }
}
