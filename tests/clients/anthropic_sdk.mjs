// The official `@anthropic-ai/sdk` package, unmodified but for base URL and key, against whatever answers at BASE_URL.

import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import {
  BASE_URL, BEHIND, FAULTY_MODEL, FORECAST, HARD_WORDS, KEY, MODEL, ROUTED, WEATHER,
  check, collected, contains, counted, equal, holds, main, pdf, png, raises,
} from './checks.mjs';

const client = new Anthropic({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const TOOL = { name: 'weather', description: 'of a city', input_schema: WEATHER };

const user = (content) => ({ role: 'user', content });
const body = (messages, more = {}) => ({ model: MODEL, max_tokens: 1000, messages, ...more });
const talk = (messages, more) => client.messages.create(body(messages, more));
const ask = (content, more) => talk([user(content)], more);
const stream = (content, more) => client.messages.stream(body([user(content)], more));
const said = (answer) => answer.content.filter((b) => b.type === 'text').map((b) => b.text).join('');
const inputs = (answer) => answer.content.filter((b) => b.type === 'tool_use').map((b) => b.input);
const kinds = (answer) => answer.content.map((b) => b.type);

function consistent(usage) {
  const [read, written] = [usage.cache_read_input_tokens ?? 0, usage.cache_creation_input_tokens ?? 0];
  holds(usage.output_tokens > 0 && usage.input_tokens + read + written > 0, usage);
  holds(Math.min(usage.input_tokens, read, written) >= 0, usage);
}

check('plain answer with usage', async () => {
  const answer = await ask('hello there');
  equal([answer.type, answer.role, answer.stop_reason, answer.stop_sequence], ['message', 'assistant', 'end_turn', null]);
  equal(kinds(answer), ['text']);
  contains(said(answer), 'You said: hello there 1 2 3');
  holds(answer.id && answer.model, answer);
  consistent(answer.usage);
});

check('raw stream has each event in its place', async () => {
  const events = await collected(ask('hello there', { stream: true }));
  const types = events.map((e) => e.type);
  equal(types.slice(0, 2), ['message_start', 'content_block_start']);
  equal(types.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
  const deltas = events.slice(2, -3);
  holds(deltas.every((e) => e.type === 'content_block_delta'), types);
  const plain = await ask('hello there');
  equal(deltas.map((e) => e.delta.text).join(''), said(plain));
  equal(events.at(-2).delta.stop_reason, 'end_turn');
  equal(events.at(-2).usage.output_tokens, plain.usage.output_tokens, 'output_tokens');
});

check('stream helper accumulates text and usage', async () => {
  const events = stream('hello there');
  let text = '';
  events.on('text', (delta) => { text += delta; });
  const final = await events.finalMessage();
  contains(text, 'You said: hello there');
  equal(said(final), text);
  equal(final.stop_reason, 'end_turn');
  consistent(final.usage);
  equal(final.usage.output_tokens, (await ask('hello there')).usage.output_tokens, 'output_tokens');
});

check('letters of many bytes and quotes survive', async () => {
  contains(said(await ask(HARD_WORDS)), `You said: ${HARD_WORDS}`);
  for (const more of ['', ' [[fake: torn=4]]']) {
    contains(await stream(HARD_WORDS + more).finalText(), `You said: ${HARD_WORDS}`);
  }
});

check('unknown events do not break a stream', async () => {
  const final = await stream('hello [[fake: unknown_event]]').finalMessage();
  contains(said(final), 'You said: hello');
  equal(final.stop_reason, 'end_turn');
});

check('system prompts are read', async () => {
  const bare = (await ask('hello')).usage.input_tokens;
  const text = 'be brief '.repeat(50);
  for (const system of [text, [{ type: 'text', text }]]) {
    const answer = await ask('hello', { system });
    contains(said(answer), 'You said: hello');
    holds(answer.usage.input_tokens >= bare + 50, answer.usage);
  }
});

check('conversation of many turns', async () => {
  const turns = [user('first')];
  for (const text of ['second', 'third']) {
    const { content } = await talk(turns);
    // The SDK's own blocks go back as they came.
    turns.push({ role: 'assistant', content }, user([{ type: 'text', text }]));
  }
  contains(said(await talk(turns)), 'You said: third');
});

check('tool loop ends with an answer', async () => {
  const turns = [user('please use tool weather')];
  const tools = [TOOL];
  const first = await talk(turns, { tools });
  equal(first.stop_reason, 'tool_use');
  equal(inputs(first), [FORECAST]);
  const call = first.content.at(-1);
  const result = { type: 'tool_result', tool_use_id: call.id, content: 'it rains' };
  const second = await talk([...turns, { role: 'assistant', content: first.content }, user([result])], { tools });
  equal(second.stop_reason, 'end_turn');
  contains(said(second), 'The tool said: it rains');
});

check('parallel tool calls', async () => {
  const turns = [user('use tool weather twice')];
  const tools = [TOOL];
  const first = await talk(turns, { tools });
  equal(inputs(first), [FORECAST, FORECAST]);
  const calls = first.content.filter((b) => b.type === 'tool_use');
  holds(calls[0].id !== calls[1].id, 'two ids');
  const results = calls.map((c, n) => ({
    type: 'tool_result', tool_use_id: c.id, content: [{ type: 'text', text: `result ${n}` }],
  }));
  const second = await talk([...turns, { role: 'assistant', content: first.content }, user(results)], { tools });
  contains(said(second), 'The tool said: result 0 The tool said: result 1');
  const one = await talk(turns, { tools, tool_choice: { type: 'auto', disable_parallel_tool_use: true } });
  equal(inputs(one).length, 1, 'calls, one at a time');
});

check('tool choice is obeyed', async () => {
  const tools = [TOOL];
  equal(kinds(await ask('hello', { tools, tool_choice: { type: 'tool', name: 'weather' } })), ['tool_use']);
  equal(kinds(await ask('hello', { tools, tool_choice: { type: 'any' } })), ['tool_use']);
  equal(kinds(await ask('use tool weather', { tools, tool_choice: { type: 'none' } })), ['text']);
});

check('stream helper accumulates tool calls', async () => {
  const events = stream('use tool weather twice', { tools: [TOOL] });
  let pieces = 0;
  events.on('inputJson', () => { pieces += 1; });
  const final = await events.finalMessage();
  holds(pieces >= 4, 'arguments in one piece');
  equal(inputs(final), [FORECAST, FORECAST]);
  equal(final.stop_reason, 'tool_use');
});

check('picture', async () => {
  const data = png();
  const source = { type: 'base64', media_type: 'image/png', data: data.toString('base64') };
  const answer = await ask([{ type: 'image', source }, { type: 'text', text: 'look' }]);
  contains(said(answer), `I see 1 image/png of ${data.length} bytes. You said: look`);
});

check('pdf document', async () => {
  const data = pdf();
  const source = { type: 'base64', media_type: 'application/pdf', data: data.toString('base64') };
  const answer = await ask([{ type: 'document', source }, { type: 'text', text: 'read' }]);
  contains(said(answer), `I see 1 application/pdf of ${data.length} bytes. You said: read`);
});

check('structured output by schema', async () => {
  const output_config = { format: { type: 'json_schema', schema: WEATHER } };
  equal(JSON.parse(said(await ask('forecast', { output_config }))), FORECAST);
  equal(JSON.parse(await stream('forecast', { output_config }).finalText()), FORECAST);
});

check('structured output by the helper', async () => {
  const schema = z.object({ city: z.string(), days: z.number().int(), sunny: z.boolean() });
  const output_config = { format: zodOutputFormat(schema) };
  const parsed = await client.messages.parse(body([user('forecast')], { output_config }));
  equal([parsed.parsed_output.city, parsed.parsed_output.sunny], ['text', true]);
});

check('stop sequence ends the text before it', async () => {
  const answer = await ask('one two three four five', { stop_sequences: ['nowhere', 'four'] });
  equal(said(answer).trimEnd(), 'You said: one two three');
  // Chat does not tell a stop sequence from an end, so a router before it cannot either.
  if (BEHIND !== 'chat') equal([answer.stop_reason, answer.stop_sequence], ['stop_sequence', 'four']);
});

check('token limit is told', async () => {
  const answer = await ask('one two three four five', { max_tokens: 5 });
  equal([answer.stop_reason, answer.usage.output_tokens], ['max_tokens', 5]);
});

check('thinking is shown, signed and sent back', async () => {
  for (const thinking of [{ type: 'enabled', budget_tokens: 2000 }, { type: 'adaptive' }]) {
    const more = { max_tokens: 4000, thinking };
    const events = stream('hello', more);
    const final = await events.finalMessage();
    const answer = await ask('hello', more);
    contains(said(answer), 'You said: hello');
    equal(said(final), said(answer));
    // To Chat "adaptive" is what it does unasked.
    if (BEHIND === 'chat' && thinking.type === 'adaptive') continue;
    const counted = answer.usage.output_tokens_details.thinking_tokens;
    holds(counted > 0 && counted < answer.usage.output_tokens, answer.usage);
    // Chat counts its thinking and does not show it.
    if (BEHIND === 'chat') continue;
    equal(kinds(answer), ['thinking', 'text']);
    contains(answer.content[0].thinking, 'Let me think: 1 2 3');
    equal(final.content[0], answer.content[0], 'streamed thinking');
    const turns = [user('hello'), { role: 'assistant', content: final.content }, user('again')];
    contains(said(await talk(turns, more)), 'You said: again');
  }
});

check('models are listed and found', async () => {
  const names = (await collected(client.models.list())).map((model) => model.id);
  holds(names.includes(MODEL), names);
  const model = await client.models.retrieve(MODEL);
  equal([model.id, model.type], [MODEL, 'model']);
  holds(model.display_name && !Number.isNaN(Date.parse(model.created_at)), model);
  await raises(Anthropic.NotFoundError, () => client.models.retrieve('no-such-model'));
});

check('wrong key is an authentication error', async () => {
  const stranger = client.withOptions({ apiKey: 'sk-wrong' });
  for (const streamed of [false, true]) {
    const error = await raises(Anthropic.AuthenticationError, () =>
      stranger.messages.create(body([user('hello')], { stream: streamed })));
    equal(error.error.error.type, 'authentication_error');
    holds(!error.message.includes('sk-wrong'), 'the key is in the message');
  }
});

check('unknown model is not found', async () => {
  for (const streamed of [false, true]) {
    const error = await raises(Anthropic.NotFoundError, () => ask('hello', { model: 'no-such-model', stream: streamed }));
    equal(error.error.error.type, 'not_found_error');
    contains(error.message, 'no-such-model');
  }
});

check('missing fields are named', async () => {
  for (const field of ['messages', 'max_tokens']) {
    const request = body([user('hello')]);
    delete request[field];
    const error = await raises(Anthropic.BadRequestError, () => client.post('/v1/messages', { body: request }));
    equal(error.error.error.type, 'invalid_request_error');
    contains(error.error.error.message, field);
  }
});

check('wrong type is named', async () => {
  for (const [field, value] of [['max_tokens', 'many'], ['messages', 'hello']]) {
    const error = await raises(Anthropic.BadRequestError, () =>
      client.post('/v1/messages', { body: { ...body([user('hello')]), [field]: value } }));
    contains(error.error.error.message, field);
  }
});

const LIMITED = [user('hello [[fake: status=429 retry_after=1]]')];

check('limit is told with its wait', async () => {
  const error = await raises(Anthropic.RateLimitError, () => talk(LIMITED, { model: `${FAULTY_MODEL}-429` }));
  equal(error.error.error.type, 'rate_limit_error');
  const wait = Number(error.headers.get('retry-after'));
  holds(wait > 0 && wait <= 60, wait);
});

check('limit is waited for by the SDK', async () => {
  const count = counted();
  const patient = client.withOptions({ maxRetries: 1, fetch: count.fetch });
  const begun = performance.now();
  await raises(Anthropic.RateLimitError, () =>
    patient.messages.create(body(LIMITED, { model: `${FAULTY_MODEL}-429-retried` })));
  equal(count.calls, 2, 'calls');
  holds(performance.now() - begun >= 950, 'it did not wait');
});

check('failing provider is tried again by the SDK', async () => {
  const count = counted();
  const patient = client.withOptions({ maxRetries: 1, fetch: count.fetch });
  const error = await raises(Anthropic.InternalServerError, () =>
    patient.messages.create(body([user('hello [[fake: status=529]]')], { model: `${FAULTY_MODEL}-500` })));
  holds(error.status >= 500, error.status);
  equal(count.calls, 2, 'calls');
});

check('page of a proxy is a server error', async () => {
  const error = await raises(Anthropic.InternalServerError, () =>
    ask('hello [[fake: html_502]]', { model: `${FAULTY_MODEL}-502` }));
  holds(error.status >= 500, error.status);
});

check('error event in the stream is raised', async () => {
  const error = await raises(Anthropic.APIError, () =>
    stream('hello [[fake: error_event_after=6 between_tokens=100]]', { model: `${FAULTY_MODEL}-event` }).finalMessage());
  holds(error.error.error.type && error.error.error.message, error.error);
});

check('cut connection is raised', async () => {
  const seen = [];
  // Without a router it is the error of `fetch`.
  await raises(ROUTED ? Anthropic.APIError : Error, async () => {
    const events = await ask('hello [[fake: cut_after=1500 between_tokens=50]]', { model: `${FAULTY_MODEL}-cut`, stream: true });
    for await (const event of events) seen.push(event.type);
  });
  holds(seen.includes('message_start'), 'nothing before the cut');
  holds(!seen.includes('message_stop') && !seen.includes('message_delta'), 'an end that never was');
});

// Alone the SDK takes it for an end; a router must not pass it on as one.
if (ROUTED) check('stream without its end is raised', async () => {
  await raises(Anthropic.APIError, () =>
    collected(ask('hello [[fake: no_terminal]]', { model: `${FAULTY_MODEL}-end`, stream: true })));
});

check('stream that is left early does not hurt the next', async () => {
  for await (const _ of await ask('hello', { stream: true })) break;
  contains(said(await ask('after')), 'You said: after');
});

check('many at once', async () => {
  const texts = await Promise.all(
    Array.from({ length: 20 }, (_, number) => stream(`number ${number} please`).finalText()));
  texts.forEach((text, number) => contains(text, `You said: number ${number} please`));
});

await main();
