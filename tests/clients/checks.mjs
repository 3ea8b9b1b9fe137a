// Runs named checks one after another and tells how many held; the environment is that of `checks.py`.

import { deflateSync, crc32 } from 'node:zlib';
import { isDeepStrictEqual } from 'node:util';

export const { BASE_URL, KEY, MODEL, FAULTY_MODEL } = process.env;
export const BEHIND = process.env.BEHIND ?? '';
export const ROUTED = BEHIND !== '';

const checks = [];

export function check(name, run) {
  checks.push({ name, run });
}

/** Runs the checks (or those whose names contain the arguments) and exits 1 when one failed. */
export async function main() {
  const wanted = process.argv.slice(2);
  const chosen = checks.filter(({ name }) => !wanted.length || wanted.some((w) => name.includes(w)));
  let failed = 0;
  for (const { name, run } of chosen) {
    const begun = performance.now();
    try {
      await run();
      console.log(`ok     ${name} (${(performance.now() - begun).toFixed(0)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error?.stack ?? error}`);
    }
  }
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  process.exit(failed || !chosen.length ? 1 : 0);
}

const shown = (value) => JSON.stringify(value) ?? String(value);

export function holds(condition, what) {
  if (!condition) throw new Error(`not so: ${shown(what)}`);
}

export function equal(found, wanted, what = 'value') {
  if (!isDeepStrictEqual(found, wanted)) throw new Error(`${what}: ${shown(found)}, not ${shown(wanted)}`);
}

export function contains(text, part) {
  if (!text?.includes(part)) throw new Error(`no ${shown(part)} in ${shown(text)}`);
}

/** The error of `kind` that `run` ends with; anything else is a failure. */
export async function raises(kind, run) {
  let result;
  try {
    result = await run();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`no error, but ${shown(result)}`);
}

export async function collected(stream) {
  const all = [];
  for await (const one of await stream) all.push(one);
  return all;
}

/** A `fetch` that counts: retries are the SDK's own business and can be seen nowhere else. */
export function counted() {
  const count = { calls: 0 };
  count.fetch = (...all) => {
    count.calls += 1;
    return fetch(...all);
  };
  return count;
}

/** A picture of one red pixel. */
export function png() {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
  const pixel = deflateSync(Buffer.from([0, 255, 0, 0]));
  const start = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([start, chunk('IHDR', head), chunk('IDAT', pixel), chunk('IEND', Buffer.alloc(0))]);
}

/** A document of one empty page. */
export function pdf() {
  return Buffer.from(
    '%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n' +
      '2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n' +
      '3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj\n' +
      'trailer<</Root 1 0 R>>\n%%EOF\n',
  );
}

export const WEATHER = {
  type: 'object',
  properties: {
    city: { type: 'string', description: 'where' },
    days: { type: 'integer', minimum: 3, maximum: 9 },
  },
  required: ['city', 'days'],
  additionalProperties: false,
};

/** What the fake makes of it. */
export const FORECAST = { city: 'text', days: 3 };

// Letters of two, three and four bytes, quotes and a backslash: what breaks when text is cut or quoted carelessly.
export const HARD_WORDS = 'größer 日本語 🎉 "quoted" back\\slash';
