// The JavaScript clients that editors are built on.  Each takes a chat to its end, its error or the point where it is to
// be left, and tells what reached the application.
//
// Reads one JSON object a line, {number, client, url, script, stream, leaveAfter}, and answers each with one line:
// {number, text, thinking, calls: [[name, arguments]], finish, usage, error, left}; `left` is CLOCK_MONOTONIC in seconds.

import { createInterface } from "node:readline";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { constructLlmApi } from "@continuedev/openai-adapters";
import { generateText, jsonSchema, streamText, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const NAMES = ["get_weather", "get_time"];
const SCHEMA = { type: "object", properties: {} };
const MESSAGES = [{ role: "user", content: "Count." }];

function wanted({ script, stream }) {
  const tools = NAMES.map((name) => ({ type: "function", function: { name, parameters: SCHEMA } }));
  return { model: `sim:${script}`, messages: MESSAGES, stream, ...(script.includes("tools=") && { tools }) };
}

const now = () => Number(process.hrtime.bigint()) / 1e9;

class Seen {
  number;
  text = "";
  thinking = "";
  calls = [];
  finish = null;
  usage = null;
  error = null;
  left = null;
  #tokens = 0;

  constructor(number) {
    this.number = number;
  }

  // Note a piece of text; whether it is time to leave.
  heard(text, ask) {
    this.text += text;
    this.#tokens += text !== "";
    if (this.#tokens !== ask.leaveAfter) return false;
    this.left = now();
    return true;
  }
}

async function openaiChunks(chunks, ask, seen, leave) {
  const calls = [];
  for await (const chunk of chunks) {
    if (chunk.usage) seen.usage = chunk.usage.completion_tokens;
    for (const { delta, finish_reason } of chunk.choices) {
      seen.thinking += delta.reasoning_content ?? "";
      seen.finish = finish_reason ?? seen.finish;
      for (const { index, function: part } of delta.tool_calls ?? []) {
        calls[index] ??= [part.name, ""];
        calls[index][1] += part.arguments;
      }
      if (seen.heard(delta.content ?? "", ask)) return leave();
    }
  }
  seen.calls = calls.map(([name, text]) => [name, JSON.parse(text)]);
}

function openaiWhole({ choices: [{ message, finish_reason }], usage }, seen) {
  seen.text = message.content ?? "";
  seen.thinking = message.reasoning_content ?? "";
  seen.calls = (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  seen.finish = finish_reason;
  seen.usage = usage.completion_tokens;
}

async function adapter(provider, apiKey, ask, seen) {
  const api = constructLlmApi({ provider, apiBase: `${ask.url}/v1/`, apiKey, model: "any" });
  const controller = new AbortController();
  const body = { ...wanted(ask), ...(ask.stream && { stream_options: { include_usage: true } }) };
  if (!ask.stream) return openaiWhole(await api.chatCompletionNonStream(body, controller.signal), seen);
  const chunks = api.chatCompletionStream(body, controller.signal);
  await openaiChunks(chunks, ask, seen, () => controller.abort());
}

const CLIENTS = {
  continue: (ask, seen) => adapter("openai", "none", ask, seen),

  // speaks the OpenAI dialect too, with an empty bearer token
  "continue's ollama": (ask, seen) => adapter("ollama", "", ask, seen),

  async openai(ask, seen) {
    const client = new OpenAI({ baseURL: `${ask.url}/v1`, apiKey: "none", maxRetries: 0 });
    const body = { ...wanted(ask), ...(ask.stream && { stream_options: { include_usage: true } }) };
    const answer = await client.chat.completions.create(body);
    if (ask.stream) await openaiChunks(answer, ask, seen, () => answer.controller.abort());
    else openaiWhole(answer, seen);
  },

  async ollama(ask, seen) {
    const client = new Ollama({ host: ask.url });
    const answer = await client.chat(wanted(ask));
    for await (const { message, done, done_reason, eval_count } of ask.stream ? answer : [answer]) {
      seen.thinking += message.thinking ?? "";
      seen.calls.push(...(message.tool_calls ?? []).map((call) => [call.function.name, call.function.arguments]));
      if (done) [seen.finish, seen.usage] = [done_reason, eval_count];
      // a `break` alone would leave the connection open
      if (seen.heard(message.content, ask)) return client.abort();
    }
  },

  async ai(ask, seen) {
    const provider = createOpenAICompatible({ name: "penstock", baseURL: `${ask.url}/v1`, includeUsage: true });
    const controller = new AbortController();
    const tools = Object.fromEntries(NAMES.map((name) => [name, tool({ inputSchema: jsonSchema(SCHEMA) })]));
    const call = {
      model: provider(`sim:${ask.script}`),
      messages: MESSAGES,
      maxRetries: 0,
      abortSignal: controller.signal,
      ...(ask.script.includes("tools=") && { tools }),
    };
    if (!ask.stream) {
      const answer = await generateText(call);
      seen.text = answer.text;
      seen.thinking = answer.reasoningText ?? "";
      seen.calls = answer.toolCalls.map(({ toolName, input }) => [toolName, input]);
      [seen.finish, seen.usage] = [answer.finishReason, answer.usage.outputTokens];
      return;
    }
    for await (const part of streamText({ ...call, onError() {} }).fullStream) {
      if (part.type === "reasoning-delta") seen.thinking += part.text;
      if (part.type === "tool-call") seen.calls.push([part.toolName, part.input]);
      if (part.type === "finish") [seen.finish, seen.usage] = [part.finishReason, part.totalUsage.outputTokens];
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta" && seen.heard(part.text, ask)) controller.abort();
    }
  },
};

// What an application would show: an error's text, or the text of the object that some clients throw.
const told = (error) => error?.message ?? JSON.stringify(error);

for await (const line of createInterface({ input: process.stdin })) {
  const ask = JSON.parse(line);
  const seen = new Seen(ask.number);
  try {
    await CLIENTS[ask.client](ask, seen);
  } catch (error) {
    // leaving is told as an error by some clients
    if (seen.left === null) seen.error = told(error);
  }
  console.log(JSON.stringify(seen));
}
