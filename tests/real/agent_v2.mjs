// An agent of version 2 of the Agent Client Protocol, by the protocol's own library, which checks every message of the client
// by its schema. No model: it asks for permission to write the file that the prompt names, and meets a limit before, once.
// node agent_v2.mjs LIBRARY (the file to import)
import { existsSync, writeFileSync } from "node:fs";
import { Readable, Writable } from "node:stream";

const acp = await import(process.argv[2]);
const MARK = "limit-was-met"; // in the working directory
const update = (client, sessionId, what) => client.notify("session/update", { sessionId, update: what });
const idle = (client, sessionId, how) => update(client, sessionId, { sessionUpdate: "state_update", state: "idle", ...how });

async function work(client, sessionId, text) {
  const path = /FILE=(\S+)/.exec(text)[1];
  await update(client, sessionId, { sessionUpdate: "state_update", state: "running" });
  if (!existsSync(MARK)) {
    writeFileSync(MARK, "");
    const error = { code: -32603, message: "You've hit your limit", data: { errorKind: "rate_limit" } };
    return idle(client, sessionId, { stopReason: "error", error });
  }
  const toolCall = { toolCallId: "call", title: "write", kind: "edit", locations: [{ path }] };
  const options = [{ optionId: "y", name: "Yes", kind: "allow_once" }, { optionId: "n", name: "No", kind: "reject_once" }];
  const { outcome } = await client.request("session/request_permission",
    { sessionId, title: "write", subject: { type: "tool_call", toolCall }, options });
  if (outcome.outcome === "selected" && outcome.optionId === "y") writeFileSync(path, "hello\n");
  await update(client, sessionId, { sessionUpdate: "agent_message_chunk", messageId: "m", content: { type: "text", text: "Written." } });
  return idle(client, sessionId, { stopReason: "end_turn" });
}

acp.agent()
  .onRequest("initialize", () => ({ protocolVersion: 2, info: { name: "example", version: "1.0" }, capabilities: { session: {} } }))
  .onRequest("session/new", () => ({ sessionId: "one" }))
  .onRequest("session/resume", ({ client, params }) =>
    idle(client, params.sessionId, { stopReason: "end_turn" }).then(() => ({})))
  .onRequest("session/prompt", ({ client, params }) => {
    setTimeout(() => work(client, params.sessionId, params.prompt[0].text), 10);
    return { messageId: "user" };
  })
  .onNotification("session/cancel", () => {})
  .connect(acp.ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)));
