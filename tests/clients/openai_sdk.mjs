// The official `openai` package for Node, unmodified but for base URL and key, against whatever answers at BASE_URL.

import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import {
  BASE_URL, BEHIND, FAULTY_MODEL, FORECAST, HARD_WORDS, KEY, MODEL, ROUTED, WEATHER,
  check, collected, contains, counted, equal, holds, main, pdf, png, raises,
} from './checks.mjs';

const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const TOOL = { type: 'function', function: { name: 'weather', description: 'of a city', parameters: WEATHER } };

const user = (content) => ({ role: 'user', content });
const talk = (messages, more = {}) => client.chat.completions.create({ model: MODEL, messages, ...more });
const ask = (content, more = {}) => talk([user(content)], more);
const said = (answer) => answer.choices[0].message.content;
const textOf = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');

function consistent(usage) {
  holds(usage?.prompt_tokens > 0 && usage.completion_tokens > 0, usage);
  equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, 'total_tokens');
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  holds(cached >= 0 && cached <= usage.prompt_tokens, usage);
}

check('plain answer with usage', async () => {
  const answer = await ask('hello there');
  equal([answer.object, answer.choices.length], ['chat.completion', 1]);
  const [choice] = answer.choices;
  equal([choice.index, choice.message.role, choice.finish_reason], [0, 'assistant', 'stop']);
  contains(said(answer), 'You said: hello there 1 2 3');
  holds(!choice.message.tool_calls && !choice.message.refusal, choice);
  holds(answer.id && answer.created > 1_700_000_000 && answer.model, answer);
  consistent(answer.usage);
});

check('streamed answer is the plain one, without usage unasked', async () => {
  const chunks = await collected(ask('hello there', { stream: true }));
  equal(textOf(chunks), said(await ask('hello there')));
  holds(chunks.every((c) => c.object === 'chat.completion.chunk' && c.id === chunks[0].id), chunks[0]);
  holds(chunks.every((c) => !c.usage && c.choices.length), 'usage that nobody asked for');
  equal(chunks[0].choices[0].delta.role, 'assistant');
  equal(chunks.map((c) => c.choices[0].finish_reason).filter(Boolean), ['stop']);
  equal(chunks.at(-1).choices[0].finish_reason, 'stop', 'the last chunk');
});

check('streamed usage comes last when asked for', async () => {
  const chunks = await collected(ask('hello there', { stream: true, stream_options: { include_usage: true } }));
  holds(chunks.slice(0, -1).every((c) => !c.usage), 'usage before the end');
  const last = chunks.at(-1);
  equal(last.choices, [], 'choices beside usage');
  consistent(last.usage);
  const plain = (await ask('hello there')).usage;
  equal([last.usage.prompt_tokens, last.usage.completion_tokens], [plain.prompt_tokens, plain.completion_tokens]);
});

check('letters of many bytes and quotes survive', async () => {
  contains(said(await ask(HARD_WORDS)), `You said: ${HARD_WORDS}`);
  for (const more of ['', ' [[fake: torn=3]]']) {
    contains(textOf(await collected(ask(HARD_WORDS + more, { stream: true }))), `You said: ${HARD_WORDS}`);
  }
});

check('unknown events do not break a stream', async () => {
  const chunks = await collected(ask('hello [[fake: unknown_event]]', { stream: true }));
  contains(textOf(chunks), 'You said: hello');
  equal(chunks.map((c) => c.choices[0]?.finish_reason).filter(Boolean), ['stop']);
});

check('system and developer prompts are read', async () => {
  const bare = (await ask('hello')).usage.prompt_tokens;
  for (const role of ['system', 'developer']) {
    const answer = await talk([{ role, content: 'be brief '.repeat(50) }, user('hello')]);
    contains(said(answer), 'You said: hello');
    holds(answer.usage.prompt_tokens >= bare + 50, answer.usage);
  }
});

check('conversation of many turns', async () => {
  const turns = [user('first')];
  for (const text of ['second', 'third']) {
    const answer = await talk(turns);
    // The SDK's own object goes back as it came.
    turns.push(answer.choices[0].message, user([{ type: 'text', text }]));
  }
  contains(said(await talk(turns)), 'You said: third');
});

check('tool loop ends with an answer', async () => {
  const turns = [user('please use tool weather')];
  const [choice] = (await talk(turns, { tools: [TOOL], tool_choice: 'auto' })).choices;
  equal(choice.finish_reason, 'tool_calls');
  equal(choice.message.tool_calls.length, 1, 'calls');
  const [call] = choice.message.tool_calls;
  equal([call.type, call.function.name], ['function', 'weather']);
  equal(JSON.parse(call.function.arguments), FORECAST);
  const result = { role: 'tool', tool_call_id: call.id, content: 'it rains' };
  const second = await talk([...turns, choice.message, result], { tools: [TOOL] });
  equal(second.choices[0].finish_reason, 'stop');
  contains(said(second), 'The tool said: it rains');
});

check('parallel tool calls', async () => {
  const turns = [user('use tool weather twice')];
  const { message } = (await talk(turns, { tools: [TOOL] })).choices[0];
  const calls = message.tool_calls;
  equal(calls.length, 2, 'calls');
  holds(calls[0].id !== calls[1].id, 'two ids');
  const results = calls.map((c, n) => ({ role: 'tool', tool_call_id: c.id, content: `result ${n}` }));
  const second = await talk([...turns, message, ...results], { tools: [TOOL] });
  contains(said(second), 'The tool said: result 0 The tool said: result 1');
  const one = await talk(turns, { tools: [TOOL], parallel_tool_calls: false });
  equal(one.choices[0].message.tool_calls.length, 1, 'calls, one at a time');
});

check('tool choice is obeyed', async () => {
  const tools = [TOOL];
  const forced = await ask('hello', { tools, tool_choice: { type: 'function', function: { name: 'weather' } } });
  equal(forced.choices[0].message.tool_calls[0].function.name, 'weather');
  const required = await ask('hello', { tools, tool_choice: 'required' });
  equal(required.choices[0].message.tool_calls.length, 1, 'calls');
  const none = await ask('use tool weather', { tools, tool_choice: 'none' });
  holds(!none.choices[0].message.tool_calls?.length, none);
});

check('stream helper accumulates text and usage', async () => {
  const stream = client.chat.completions.stream({
    model: MODEL, messages: [user('hello there')], stream_options: { include_usage: true },
  });
  let text = '';
  stream.on('content', (delta) => { text += delta; });
  const final = await stream.finalChatCompletion();
  contains(text, 'You said: hello there');
  equal(said(final), text);
  equal(final.choices[0].finish_reason, 'stop');
  consistent(final.usage);
});

check('stream helper accumulates tool calls', async () => {
  const strict = { type: 'function', function: { ...TOOL.function, strict: true } };
  const stream = client.chat.completions.stream({
    model: MODEL, messages: [user('use tool weather twice')], tools: [strict],
  });
  const done = [];
  stream.on('tool_calls.function.arguments.done', (event) => done.push(JSON.parse(event.arguments)));
  const final = await stream.finalChatCompletion();
  equal(done, [FORECAST, FORECAST], "the helper's arguments");
  equal(final.choices[0].message.tool_calls.map((c) => JSON.parse(c.function.arguments)), [FORECAST, FORECAST]);
  equal(final.choices[0].finish_reason, 'tool_calls');
});

check('the tool runner calls, answers and ends', async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model: MODEL,
    messages: [user('please use tool weather')],
    tools: [{
      type: 'function',
      function: {
        ...TOOL.function,
        parse: JSON.parse,
        function: (input) => { asked.push(input); return 'it rains'; },
      },
    }],
  });
  contains(await runner.finalContent(), 'The tool said: it rains');
  equal(asked, [FORECAST]);
});

check('picture', async () => {
  const data = png();
  const url = `data:image/png;base64,${data.toString('base64')}`;
  const answer = await ask([{ type: 'text', text: 'look' }, { type: 'image_url', image_url: { url } }]);
  contains(said(answer), `I see 1 image/png of ${data.length} bytes. You said: look`);
});

check('pdf document', async () => {
  const data = pdf();
  const file = { filename: 'page.pdf', file_data: `data:application/pdf;base64,${data.toString('base64')}` };
  const answer = await ask([{ type: 'file', file }, { type: 'text', text: 'read' }]);
  contains(said(answer), `I see 1 application/pdf of ${data.length} bytes. You said: read`);
});

check('structured output by schema', async () => {
  const response_format = { type: 'json_schema', json_schema: { name: 'forecast', strict: true, schema: WEATHER } };
  equal(JSON.parse(said(await ask('forecast', { response_format }))), FORECAST);
  equal(JSON.parse(textOf(await collected(ask('forecast', { response_format, stream: true })))), FORECAST);
});

check('structured output by the helper', async () => {
  const schema = z.object({ city: z.string(), days: z.number().int(), sunny: z.boolean() });
  const parsed = await client.chat.completions.parse({
    model: MODEL, messages: [user('forecast')], response_format: zodResponseFormat(schema, 'forecast'),
  });
  const { city, sunny } = parsed.choices[0].message.parsed;
  equal([city, sunny], ['text', true]);
});

check('stop sequence ends the text before it', async () => {
  for (const stop of ['four', ['nowhere', 'four']]) {
    const answer = await ask('one two three four five', { stop });
    equal(said(answer).trimEnd(), 'You said: one two three');
    equal(answer.choices[0].finish_reason, 'stop');
  }
});

check('token limit is told as length', async () => {
  for (const limit of [{ max_completion_tokens: 5 }, { max_tokens: 5 }]) {
    const answer = await ask('one two three four five', limit);
    equal([answer.choices[0].finish_reason, answer.usage.completion_tokens], ['length', 5]);
  }
});

check('reasoning effort thinks and is counted', async () => {
  const answer = await ask('hello', { reasoning_effort: 'high', max_completion_tokens: 20_000 });
  contains(said(answer), 'You said: hello');
  const reasoning = answer.usage.completion_tokens_details?.reasoning_tokens;
  holds(reasoning > 0 && reasoning < answer.usage.completion_tokens, answer.usage);
  consistent(answer.usage);
});

check('models are listed and found', async () => {
  const names = (await collected(client.models.list())).map((model) => model.id);
  holds(names.includes(MODEL), names);
  const model = await client.models.retrieve(MODEL);
  equal([model.id, model.object], [MODEL, 'model']);
  await raises(OpenAI.NotFoundError, () => client.models.retrieve('no-such-model'));
});

check('wrong key is an authentication error', async () => {
  const stranger = client.withOptions({ apiKey: 'sk-wrong' });
  for (const stream of [false, true]) {
    const error = await raises(OpenAI.AuthenticationError, () =>
      stranger.chat.completions.create({ model: MODEL, messages: [user('hello')], stream }));
    equal(error.status, 401);
    holds(!error.message.includes('sk-wrong'), 'the key is in the message');
  }
});

check('unknown model is not found', async () => {
  for (const stream of [false, true]) {
    const error = await raises(OpenAI.NotFoundError, () => ask('hello', { model: 'no-such-model', stream }));
    equal(error.code, 'model_not_found');
    contains(error.message, 'no-such-model');
  }
});

check('missing messages are named', async () => {
  const error = await raises(OpenAI.BadRequestError, () => client.chat.completions.create({ model: MODEL }));
  equal(error.param, 'messages');
  contains(error.message, 'messages');
});

check('wrong type is named', async () => {
  equal((await raises(OpenAI.BadRequestError, () => ask('hello', { temperature: 'hot' }))).param, 'temperature');
  equal((await raises(OpenAI.BadRequestError, () => talk('hello'))).param, 'messages');
});

const LIMITED = [user('hello [[fake: status=429 retry_after=1]]')];

check('limit is told with its wait', async () => {
  const error = await raises(OpenAI.RateLimitError, () => talk(LIMITED, { model: `${FAULTY_MODEL}-429` }));
  equal(error.status, 429);
  const wait = Number(error.headers.get('retry-after'));
  holds(wait > 0 && wait <= 60, wait);
});

check('limit is waited for by the SDK', async () => {
  const count = counted();
  const patient = client.withOptions({ maxRetries: 1, fetch: count.fetch });
  const begun = performance.now();
  await raises(OpenAI.RateLimitError, () =>
    patient.chat.completions.create({ model: `${FAULTY_MODEL}-429-retried`, messages: LIMITED }));
  equal(count.calls, 2, 'calls');
  holds(performance.now() - begun >= 950, 'it did not wait');
});

check('failing provider is tried again by the SDK', async () => {
  const count = counted();
  const patient = client.withOptions({ maxRetries: 1, fetch: count.fetch });
  const error = await raises(OpenAI.InternalServerError, () =>
    patient.chat.completions.create({ model: `${FAULTY_MODEL}-500`, messages: [user('hello [[fake: status=500]]')] }));
  holds(error.status >= 500, error.status);
  equal(count.calls, 2, 'calls');
});

check('page of a proxy is a server error', async () => {
  const error = await raises(OpenAI.InternalServerError, () =>
    ask('hello [[fake: html_502]]', { model: `${FAULTY_MODEL}-502` }));
  holds(error.status >= 500, error.status);
});

check('error event in the stream is raised', async () => {
  const error = await raises(OpenAI.APIError, () =>
    collected(ask('hello [[fake: error_event_after=6 between_tokens=100]]', { model: `${FAULTY_MODEL}-event`, stream: true })));
  holds(error.message, 'an error without words');
});

check('cut connection is raised', async () => {
  const chunks = [];
  // Without a router it is the error of `fetch`.
  await raises(ROUTED ? OpenAI.APIError : Error, async () => {
    const stream = await ask('hello [[fake: cut_after=2500 between_tokens=50]]', { model: `${FAULTY_MODEL}-cut`, stream: true });
    for await (const chunk of stream) chunks.push(chunk);
  });
  holds(chunks.length, 'nothing before the cut');
  holds(chunks.every((c) => !c.choices[0]?.finish_reason), 'a finish that never was');
});

// Alone the SDK takes it for an end; a router must not pass it on as one.
if (ROUTED) check('stream without its end is raised', async () => {
  await raises(OpenAI.APIError, () =>
    collected(ask('hello [[fake: no_terminal]]', { model: `${FAULTY_MODEL}-end`, stream: true })));
});

check('stream that is left early does not hurt the next', async () => {
  for await (const _ of await ask('hello', { stream: true })) break;
  contains(said(await ask('after')), 'You said: after');
});

check('several choices', async () => {
  // Messages has no such thing, and nobody may make one out of two silently.
  if (BEHIND === 'messages') {
    await raises(OpenAI.BadRequestError, () => ask('hello', { n: 2 }));
    return;
  }
  const answer = await ask('hello', { n: 2 });
  equal(answer.choices.map((c) => c.index), [0, 1]);
});

check('many at once', async () => {
  const one = async (number) => textOf(await collected(ask(`number ${number} please`, { stream: true })));
  const texts = await Promise.all(Array.from({ length: 20 }, (_, number) => one(number)));
  texts.forEach((text, number) => contains(text, `You said: number ${number} please`));
});

await main();
