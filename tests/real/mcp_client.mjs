// A public client of the Model Context Protocol against `rota mcp`: the library checks every message by its schema.
// node mcp_client.mjs LIBRARY STDIO COMMAND [ARGUMENT...]   (the two files to import)
// Prints a line of JSON: the version that was agreed, the tools, what some calls gave. ERA=auto|VERSION asks for the other era.
const [library, stdio, command, ...args] = process.argv.slice(2);
const { Client } = await import(library);
const { StdioClientTransport } = await import(stdio);
const era = process.env.ERA;
const options = era ? { versionNegotiation: { mode: era === "auto" ? "auto" : { pin: era } } } : {};
const client = new Client({ name: "a public client", version: "1.0" }, options);
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
const { tools } = await client.listTools();
const call = async (name, more) => {
  try {
    return await client.callTool({ name, arguments: more });
  } catch (error) {
    return { code: error.code };
  }
};
console.log(JSON.stringify({
  version: client.getNegotiatedProtocolVersion?.() ?? null,
  server: client.getServerVersion(),
  instructions: client.getInstructions(),
  tools: tools.map((tool) => tool.name),
  required: tools.find((tool) => tool.name === "note_add").inputSchema.required,
  status: await call("status", {}),
  note: await call("note_add", { type: "learning", text: "By a public client.", confidence: 1, tasks: ["t"] }),
  wrong: await call("note_add", { type: "opinion", text: "x" }),
  missing: await call("task_get", { id: "nowhere" }),
  unknown: await call("nowhere", {}),
}));
await client.close();
