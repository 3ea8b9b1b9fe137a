// The official clients for Node through a router, each with every provider behind: MODELS names one model a provider, split by blanks.

import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI, ApiError } from '@google/genai';
import OpenAI from 'openai';
import {
  BASE_URL, FORECAST, KEY, WEATHER, check, collected, contains, equal, holds, main, pdf, png, raises,
} from './checks.mjs';

const { MODELS, EMBEDDED = '', WITHOUT_DOCUMENTS = '' } = process.env;
const models = MODELS.split(' ');
const openai = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const claude = new Anthropic({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const gemini = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: BASE_URL } });

const PICTURE = png().toString('base64');
const DOCUMENT = pdf().toString('base64');
const SAID = 'You said: hello there';
const FUNCTION = { name: 'weather', description: 'of a city', parameters: WEATHER };
const user = (content) => ({ role: 'user', content });

/** One check a model. */
function forEachModel(name, run, chosen = models) {
  for (const model of chosen) check(`${name} at ${model}`, () => run(model));
}

// Documents are refused with a reason by wires that have no form for them.
const refusing = WITHOUT_DOCUMENTS.split(' ').filter(Boolean);
const reading = models.filter((model) => !refusing.includes(model));

forEachModel('chat plain, streamed and counted', async (model) => {
  const ask = { model, messages: [user('hello there')] };
  const answer = await openai.chat.completions.create(ask);
  contains(answer.choices[0].message.content, SAID);
  equal(answer.choices[0].finish_reason, 'stop');
  equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  const chunks = await collected(openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
  equal(chunks.map((c) => c.choices[0]?.delta.content ?? '').join(''), answer.choices[0].message.content);
  holds(chunks.at(-1).usage.completion_tokens > 0, chunks.at(-1));
});

forEachModel('chat tools and their results', async (model) => {
  const tools = [{ type: 'function', function: FUNCTION }];
  const messages = [user('use tool weather twice')];
  const stream = openai.chat.completions.stream({ model, messages, tools });
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
  equal([message.tool_calls.length, finish_reason], [2, 'tool_calls']);
  equal(JSON.parse(message.tool_calls[0].function.arguments), FORECAST);
  messages.push(message, ...message.tool_calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'sunny' })));
  const after = await openai.chat.completions.create({ model, messages, tools });
  contains(after.choices[0].message.content, 'The tool said: sunny');
});

forEachModel('chat takes a picture', async (model) => {
  const content = [{ type: 'text', text: 'look' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PICTURE}` } }];
  const answer = await openai.chat.completions.create({ model, messages: [user(content)] });
  contains(answer.choices[0].message.content, '1 image/png of');
});

const chatDocument = (model) => {
  const file = { filename: 'page.pdf', file_data: `data:application/pdf;base64,${DOCUMENT}` };
  return openai.chat.completions.create({ model, messages: [user([{ type: 'file', file }, { type: 'text', text: 'read' }])] });
};
forEachModel('chat takes a document', async (model) => {
  contains((await chatDocument(model)).choices[0].message.content, '1 application/pdf of');
}, reading);
forEachModel('chat is told that documents are not taken', async (model) => {
  contains((await raises(OpenAI.BadRequestError, () => chatDocument(model))).message, 'document');
}, refusing);

forEachModel('chat is answered by schema', async (model) => {
  const response_format = { type: 'json_schema', json_schema: { name: 'forecast', strict: true, schema: WEATHER } };
  const answer = await openai.chat.completions.create({ model, messages: [user('forecast')], response_format });
  equal(JSON.parse(answer.choices[0].message.content), FORECAST);
});

forEachModel('responses plain and streamed', async (model) => {
  const answer = await openai.responses.create({ model, input: 'hello there' });
  equal([answer.object, answer.status], ['response', 'completed']);
  contains(answer.output_text, SAID);
  equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  const stream = openai.responses.stream({ model, input: 'hello there' });
  const numbers = [];
  for await (const event of stream) numbers.push(event.sequence_number);
  equal(numbers, numbers.map((_, at) => at));
  equal((await stream.finalResponse()).output_text, answer.output_text);
});

forEachModel('responses tools and their results', async (model) => {
  const tools = [{ type: 'function', ...FUNCTION }];
  const input = [user('use tool weather twice')];
  const answer = await openai.responses.create({ model, input, tools, store: false });
  const calls = answer.output.filter((item) => item.type === 'function_call');
  equal(calls.map((call) => JSON.parse(call.arguments)), [FORECAST, FORECAST]);
  input.push(...answer.output, ...calls.map(({ call_id }) => ({ type: 'function_call_output', call_id, output: 'sunny' })));
  contains((await openai.responses.create({ model, input, tools, store: false })).output_text, 'The tool said: sunny');
});

forEachModel('responses take a picture', async (model) => {
  const content = [{ type: 'input_text', text: 'look' }, { type: 'input_image', image_url: `data:image/png;base64,${PICTURE}` }];
  contains((await openai.responses.create({ model, input: [user(content)] })).output_text, '1 image/png of');
});

const responseOnDocument = (model) => {
  const file = { type: 'input_file', filename: 'page.pdf', file_data: `data:application/pdf;base64,${DOCUMENT}` };
  return openai.responses.create({ model, input: [user([file, { type: 'input_text', text: 'read' }])] });
};
forEachModel('responses take a document', async (model) => {
  contains((await responseOnDocument(model)).output_text, '1 application/pdf of');
}, reading);
forEachModel('responses are told that documents are not taken', async (model) => {
  contains((await raises(OpenAI.BadRequestError, () => responseOnDocument(model))).message, 'document');
}, refusing);

forEachModel('responses are by schema', async (model) => {
  const text = { format: { type: 'json_schema', name: 'forecast', strict: true, schema: WEATHER } };
  equal(JSON.parse((await openai.responses.create({ model, input: 'forecast', text })).output_text), FORECAST);
});

const words = (answer) => answer.content.filter((block) => block.type === 'text').map((block) => block.text).join('');

forEachModel('messages plain and streamed', async (model) => {
  const ask = { model, max_tokens: 200, messages: [user('hello there')] };
  const answer = await claude.messages.create(ask);
  contains(words(answer), SAID);
  equal([answer.role, answer.stop_reason], ['assistant', 'end_turn']);
  holds(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0, answer.usage);
  const final = await claude.messages.stream(ask).finalMessage();
  equal([words(final), final.stop_reason], [words(answer), 'end_turn']);
});

forEachModel('messages tools and their results', async (model) => {
  const tools = [{ name: 'weather', description: 'of a city', input_schema: WEATHER }];
  const messages = [user('use tool weather twice')];
  const answer = await claude.messages.stream({ model, max_tokens: 200, tools, messages }).finalMessage();
  const calls = answer.content.filter((block) => block.type === 'tool_use');
  equal([calls.map((call) => call.input), answer.stop_reason], [[FORECAST, FORECAST], 'tool_use']);
  const results = calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'sunny' }));
  messages.push({ role: 'assistant', content: answer.content }, user(results));
  contains(words(await claude.messages.create({ model, max_tokens: 200, tools, messages })), 'The tool said: sunny');
});

forEachModel('messages take a picture', async (model) => {
  const source = { type: 'base64', media_type: 'image/png', data: PICTURE };
  const messages = [user([{ type: 'text', text: 'look' }, { type: 'image', source }])];
  contains(words(await claude.messages.create({ model, max_tokens: 200, messages })), '1 image/png of');
});

const messageOnDocument = (model) => {
  const source = { type: 'base64', media_type: 'application/pdf', data: DOCUMENT };
  return claude.messages.create({ model, max_tokens: 200, messages: [user([{ type: 'document', source }, { type: 'text', text: 'read' }])] });
};
forEachModel('messages take a document', async (model) => {
  contains(words(await messageOnDocument(model)), '1 application/pdf of');
}, reading);
forEachModel('messages are told that documents are not taken', async (model) => {
  contains((await raises(Anthropic.BadRequestError, () => messageOnDocument(model))).message, 'document');
}, refusing);

forEachModel('messages are by schema', async (model) => {
  const output_config = { format: { type: 'json_schema', schema: WEATHER } };
  const answer = await claude.messages.create({ model, max_tokens: 200, messages: [user('forecast')], output_config });
  equal(JSON.parse(words(answer)), FORECAST);
});

const generate = (model, contents, config) => gemini.models.generateContent({ model, contents, config });

forEachModel('gemini plain and streamed', async (model) => {
  const answer = await generate(model, 'hello there');
  contains(answer.text, SAID);
  equal(answer.candidates[0].finishReason, 'STOP');
  const { promptTokenCount, candidatesTokenCount } = answer.usageMetadata;
  holds(promptTokenCount > 0 && candidatesTokenCount > 0, answer.usageMetadata);
  const chunks = await collected(gemini.models.generateContentStream({ model, contents: 'hello there' }));
  equal(chunks.map((chunk) => chunk.text ?? '').join(''), answer.text);
});

forEachModel('gemini tools and their results', async (model) => {
  const config = { tools: [{ functionDeclarations: [{ name: 'weather', description: 'of a city', parametersJsonSchema: WEATHER }] }] };
  const contents = [{ role: 'user', parts: [{ text: 'use tool weather twice' }] }];
  const answer = await generate(model, contents, config);
  equal(answer.functionCalls.map((call) => call.args), [FORECAST, FORECAST]);
  const results = answer.functionCalls.map(({ id, name }) => ({ functionResponse: { id, name, response: { output: 'sunny' } } }));
  contents.push(answer.candidates[0].content, { role: 'user', parts: results });
  contains((await generate(model, contents, config)).text, 'The tool said: ');
});

const inline = (mimeType, data) => ({ inlineData: { mimeType, data } });

forEachModel('gemini takes a picture', async (model) => {
  const answer = await generate(model, [{ role: 'user', parts: [{ text: 'look' }, inline('image/png', PICTURE)] }]);
  contains(answer.text, '1 image/png of');
});

const geminiOnDocument = (model) => generate(model, [{ role: 'user', parts: [{ text: 'read' }, inline('application/pdf', DOCUMENT)] }]);
forEachModel('gemini takes a document', async (model) => {
  contains((await geminiOnDocument(model)).text, '1 application/pdf of');
}, reading);
forEachModel('gemini is told that documents are not taken', async (model) => {
  const error = await raises(ApiError, () => geminiOnDocument(model));
  equal(error.status, 400);
  contains(error.message, 'document');
}, refusing);

forEachModel('gemini is answered by schema', async (model) => {
  const config = { responseMimeType: 'application/json', responseJsonSchema: WEATHER };
  equal(JSON.parse((await generate(model, 'forecast', config)).text), FORECAST);
});

check('texts are embedded in both dialects', async () => {
  for (const model of EMBEDDED.split(' ').filter(Boolean)) {
    // Unasked, this client takes base64 and reads it.
    for (const more of [{}, { encoding_format: 'float' }]) {
      const answer = await openai.embeddings.create({ model, input: ['a', 'b'], ...more });
      equal(answer.data.length, 2, model);
      holds(answer.data[0].embedding.every((number) => Number.isFinite(number)), model);
      const vectors = (await gemini.models.embedContent({ model, contents: 'a' })).embeddings;
      equal(vectors[0].values.length, answer.data[0].embedding.length, model);
    }
  }
});

check('models are listed in each dialect', async () => {
  const listed = [
    (await collected(openai.models.list())).map((model) => model.id),
    (await collected(claude.models.list())).map((model) => model.id),
    (await collected(gemini.models.list())).map((model) => model.name.replace('models/', '')),
  ];
  for (const names of listed) holds(models.every((model) => names.includes(model)), names);
});

await main();
