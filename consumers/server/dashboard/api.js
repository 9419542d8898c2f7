// Calls of the HTTP API; a failure is an Error with a message for the user.

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
  throw new Error(`${reason(body)} (HTTP ${response.status})`);
}

function reason(body) {
  const detail = body?.detail ?? body;
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ");
  return typeof detail === "string" && detail ? detail.slice(0, 500) : "the server refused the request";
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch {
    throw new Error("the server cannot be reached");
  }
  return answer(response);
}

export const get = (path) => call(path);

export const post = (path, body, token) =>
  call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(body),
  });
