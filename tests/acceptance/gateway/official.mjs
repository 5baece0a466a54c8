// Replicate's own JavaScript client, unchanged, in front of the gateway. Arguments: address, key, model, image model.
import { createRequire } from "node:module";
const require = createRequire(process.env.REPLICATE_CLIENT);
const Replicate = require("replicate");
const { validateWebhook } = Replicate;
const [, , address, key, model, editor] = process.argv;
const replicate = new Replicate({ auth: key, baseUrl: `${address}/v1` });
const told = {};
const first = (output) => (Array.isArray(output) ? output[0] : output);

const output = first(await replicate.run(model, { input: { prompt: "a fox in JavaScript" } }));
// The client makes file objects of https addresses alone; those of a gateway without TLS stay texts.
const sizeOf = async (address) => (await (await fetch(address)).blob()).size;
told.run = [output, await sizeOf(output)];

let prediction = await replicate.predictions.create({ model, input: { prompt: "another fox" } });
told.created = prediction.status;
prediction = await replicate.wait(prediction, { interval: 100 });
told.waited = [prediction.status, typeof first(prediction.output)];
told.got = (await replicate.predictions.get(prediction.id)).status;
told.listed = (await replicate.predictions.list()).results[0].id === prediction.id;
for await (const page of replicate.paginate(replicate.predictions.list)) told.pages = page.length;

const picture = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const edited = first(await replicate.run(editor, { input: { prompt: "a blue fox", input_image: picture } }));
told.edited = await sizeOf(edited);
const file = await replicate.files.create(new Blob([picture], { type: "image/png" }), { of: "a test" });
told.file = [file.size, file.metadata.of, (await replicate.files.list()).results.some((each) => each.id === file.id)];
told.deleted = await replicate.files.delete(file.id);

told.model = (await replicate.models.get(...model.split("/"))).name;
told.models = (await replicate.models.list()).results.length;
told.account = (await replicate.accounts.current()).username;

const canceled = await replicate.predictions.create({ model, input: { prompt: "a fox to cancel [[hang]]" } });
await replicate.predictions.cancel(canceled.id);
told.canceled = (await replicate.wait(canceled, { interval: 100 })).status;

const events = [];
for await (const event of replicate.stream(model, { input: { prompt: "a streamed fox" } })) events.push(event.event);
told.events = events.slice(-2);

try {
  await replicate.run(model, { input: { prompt: "a fox", aspect_ratio: "wide" } });
} catch (error) {
  told.refused = error.response.status;
}

const secret = (await replicate.webhooks.default.secret.get()).key;
const hook = JSON.parse(process.env.HOOK);
told.webhook = [
  await validateWebhook({ ...hook, secret }),
  await validateWebhook({ ...hook, body: `${hook.body} `, secret }),
];
console.log(JSON.stringify(told));
