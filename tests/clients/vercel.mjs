// The `ai` package of Vercel through a router, by each of its providers' packages, with every provider behind: MODELS names one model a
// provider, split by blanks.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, Output, embedMany, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';
import { BASE_URL, KEY, WEATHER, check, contains, equal, holds, main, pdf, png, raises } from './checks.mjs';

// Its warnings are for people at a terminal.
globalThis.AI_SDK_LOG_WARNINGS = false;

const { MODELS, EMBEDDED = '' } = process.env;
const models = MODELS.split(' ');
const v1 = { baseURL: `${BASE_URL}/v1`, apiKey: KEY };
const openai = createOpenAI(v1);
const compatible = createOpenAICompatible({ ...v1, name: 'stokehold', includeUsage: true, supportsStructuredOutputs: true });
const PACKAGES = {
  chat: (model) => openai.chat(model),
  responses: (model) => openai.responses(model),
  compatible: (model) => compatible(model),
  anthropic: createAnthropic(v1),
  google: createGoogleGenerativeAI({ baseURL: `${BASE_URL}/v1beta`, apiKey: KEY }),
};
const ONCE = { maxRetries: 0, maxOutputTokens: 2000 };

/** One check a package and model. */
function everywhere(name, run) {
  for (const [by, of] of Object.entries(PACKAGES)) {
    for (const model of models) check(`${name} by ${by} at ${model}`, () => run(of(model), by, model));
  }
}

/** What the fake makes of the schema; Google's package leaves its bounds out on its own. */
const isForecast = ({ city, days }) => city === 'text' && Number.isInteger(days);

function counted({ inputTokens, outputTokens }) {
  holds(inputTokens > 0 && outputTokens > 0, { inputTokens, outputTokens });
}

everywhere('plain and streamed', async (model) => {
  const answer = await generateText({ model, system: 'be brief', prompt: 'hello there', ...ONCE });
  contains(answer.text, 'You said: hello there');
  equal(answer.finishReason, 'stop');
  counted(answer.usage);
  const stream = streamText({ model, system: 'be brief', prompt: 'hello there', ...ONCE, onError: () => {} });
  let said = '';
  for await (const part of stream.textStream) said += part;
  equal(said, answer.text);
  equal(await stream.finishReason, 'stop');
  counted(await stream.usage);
});

everywhere('tools in a loop, plain and streamed', async (model) => {
  const asked = [];
  const weather = tool({
    description: 'of a city',
    inputSchema: jsonSchema(WEATHER),
    execute: async (input) => { asked.push(input); return 'sunny'; },
  });
  const ask = { model, tools: { weather }, prompt: 'use tool weather twice', stopWhen: stepCountIs(3), ...ONCE };
  const answer = await generateText(ask);
  holds(asked.length === 2 && asked.every(isForecast), asked);
  equal(answer.steps.map((step) => step.finishReason), ['tool-calls', 'stop']);
  contains(answer.text, 'The tool said:');
  const stream = streamText({ ...ask, onError: () => {} });
  contains(await stream.text, 'The tool said:');
  equal(asked.length, 4, 'calls');
});

everywhere('answer by schema', async (model) => {
  const answer = await generateText({ model, prompt: 'forecast', output: Output.object({ schema: jsonSchema(WEATHER) }), ...ONCE });
  holds(isForecast(answer.output), answer.output);
});

everywhere('picture and document', async (model) => {
  const content = [
    { type: 'text', text: 'look' },
    { type: 'image', image: png(), mediaType: 'image/png' },
    { type: 'file', data: pdf(), mediaType: 'application/pdf', filename: 'page.pdf' },
  ];
  const answer = await generateText({ model, messages: [{ role: 'user', content }], ...ONCE });
  contains(answer.text, '1 image/png');
  contains(answer.text, '1 application/pdf');
});

for (const [by, of] of Object.entries(PACKAGES)) {
  check(`errors by ${by}`, async () => {
    const ask = (more) => generateText({ prompt: 'hello', ...ONCE, ...more });
    const missing = await raises(APICallError, () => ask({ model: of('no-such-model') }));
    equal([missing.statusCode, missing.isRetryable], [404, false]);
    contains(missing.message, 'no-such-model');
    const wrong = await raises(APICallError, () => ask({ model: of(models[0]), headers: { authorization: 'Bearer wrong', 'x-api-key': 'wrong', 'x-goog-api-key': 'wrong' } }));
    equal(wrong.statusCode, 401);
    const failing = await raises(APICallError, () => ask({ model: of(models[0]), prompt: 'hello [[fake: status=400]]' }));
    equal([failing.statusCode, failing.isRetryable], [400, false]);
  });
}

check('texts are embedded', async () => {
  for (const model of EMBEDDED.split(' ').filter(Boolean)) {
    const by = [openai.embedding(model), compatible.textEmbeddingModel(model), createGoogleGenerativeAI({ baseURL: `${BASE_URL}/v1beta`, apiKey: KEY }).embedding(model)];
    for (const one of by) {
      const answer = await embedMany({ model: one, values: ['a', 'b'], maxRetries: 0 });
      equal(answer.embeddings.length, 2, model);
      holds(answer.embeddings[0].every(Number.isFinite), model);
    }
  }
});

await main();
