// Calls of the HTTP API; a failure is an Error with a message for the user.

/** The token of the user, in the memory of this page alone: no address, cookie or storage has it. */
let ours = null;

export const signIn = (token) => {
  ours = token;
};

async function answer(response) {
  const text = await response.text();
  const json = (response.headers.get("content-type") ?? "").includes("json");
  let body = text;
  try {
    body = json ? JSON.parse(text) : text;
  } catch {
    throw new Error(`the server's answer cannot be read (HTTP ${response.status})`);
  }
  if (response.ok) return body;
  throw Object.assign(new Error(`${reason(body)} (HTTP ${response.status})`), { status: response.status });
}

function reason(body) {
  const detail = body?.detail ?? body;
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ");
  return typeof detail === "string" && detail ? detail.slice(0, 500) : "the server refused the request";
}

async function call(path, { token = ours, headers = {}, ...options } = {}) {
  const sent = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options, headers: sent });
  } catch {
    throw new Error("the server cannot be reached");
  }
  return answer(response);
}

export const get = (path) => call(path);

export const post = (path, body, token) =>
  call(path, { method: "POST", token, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
