// Requests to the studio's own server. Addresses are relative: the page's own holds the key.

/** A failure whose message is meant for the person. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, { json, body, signal } = {}) {
  const headers = json === undefined ? {} : { "content-type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      signal,
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The studio does not answer. Start it again; your work is kept.", 0);
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).message ?? "The page sent something the studio does not understand.";
  } catch {
    // not JSON: the text itself is the message
  }
  throw new Refusal(message, answer.status);
}

const json = async (method, path, options) => (await ask(method, path, options)).json();

async function bytes(method, path, options) {
  const answer = await ask(method, path, options);
  return {
    facts: JSON.parse(answer.headers.get("x-facts")),
    data: new Uint8ClampedArray(await answer.arrayBuffer()),
  };
}

const at = (id, rest = "") => `api/documents/${id}${rest}`;
const named = (name) => `?name=${encodeURIComponent(name)}`;
const sampled = (name) => `?sample=${encodeURIComponent(name)}`;

export const health = () => json("GET", "api/health");
export const cancel = () => json("POST", "api/cancel", { body: "" });
export const documents = () => json("GET", "api/documents");
export const open = (file) => json("POST", `api/documents${named(file.name)}`, { body: file });
export const openSample = (name) => json("POST", `api/documents${sampled(name)}`, { body: "" });
export const load = (id) => json("GET", at(id));
export const discard = (id) => json("DELETE", at(id), { body: "" });
export const chooseFace = (id, pointed) => json("POST", at(id, "/face"), { json: pointed });
export const frame = (id) => bytes("GET", at(id, "/frame"));
export const preview = (id, draft, fine) =>
  bytes("POST", at(id, "/preview"), { json: { draft, fine } });
export const step = (id, label, base, draft) =>
  json("POST", at(id, "/steps"), { json: { label, base, draft } });
export const move = (id, position) => json("POST", at(id, "/position"), { json: { position } });
export const addPicture = (id, file) =>
  json("POST", at(id, `/pictures${named(file.name)}`), { body: file });
export const addSample = (id, name) =>
  json("POST", at(id, `/pictures${sampled(name)}`), { body: "" });
export const pictureFaces = (id, key) => json("GET", at(id, `/pictures/${key}/faces`));
export const pictureFrame = (id, key, face) =>
  bytes("POST", at(id, `/pictures/${key}/frame`), { json: face });
export const pictureAddress = (id, key) => at(id, `/pictures/${key}`);
export const sampleAddress = (name) => `samples/${name}`;

/** Save and return the file as { name, blob }. */
export async function save(id, what, recipe) {
  const answer = await ask("POST", at(id, "/save"), { json: { what, recipe } });
  const said = answer.headers.get("content-disposition") ?? "";
  const name = decodeURIComponent(said.split("''")[1] ?? "picture");
  return { name, blob: await answer.blob() };
}
