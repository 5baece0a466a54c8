// A crowd of JavaScript clients, each with one prediction to make. Arguments: key, model, how many, addresses…
// A client that meets an error asks the next gateway again, with the same Idempotency-Key. Prints what each got.
import { createRequire } from "node:module";
const require = createRequire(process.env.REPLICATE_CLIENT);
const Replicate = require("replicate");
const [, , auth, model, count, ...gateways] = process.argv;

async function one(number) {
  const prompt = `js ${number}`;
  const withKey = (url, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("Idempotency-Key", prompt);
    return fetch(url, { ...init, headers });
  };
  for (let tried = 0; tried < 100; tried++) {
    const baseUrl = `${gateways[(number + tried) % gateways.length]}/v1`;
    try {
      const replicate = new Replicate({ auth, baseUrl, fetch: withKey });
      const output = await replicate.run(model, { input: { prompt }, wait: { mode: "poll", interval: 500 } });
      if (output) return [prompt, String(Array.isArray(output) ? output[0] : output)];
    } catch (error) {
      if (error.response && error.response.status < 500) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return [prompt, null];
}

const found = await Promise.all(Array.from({ length: Number(count) }, (_, number) => one(number)));
console.log(JSON.stringify(Object.fromEntries(found)));
