// The JavaScript clients that editors are built on.  Each takes an answer to its end, its error or the point where it is
// to be left, and tells what reached the application.
//
// Reads one JSON object a line, {number, client, url, model, stream, tools, leaveAfter, leaveWhen}, and answers each with
// one line, in the order of their ends: {number, text, thinking, calls: [[name, arguments]], finish, usage, error, left};
// `left` is CLOCK_MONOTONIC in seconds.

import { createInterface } from "node:readline";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { constructLlmApi } from "@continuedev/openai-adapters";
import { embed, generateText, jsonSchema, streamText, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const NAMES = ["get_weather", "get_time"];
const SCHEMA = { type: "object", properties: {} };
const MESSAGES = [{ role: "user", content: "Count." }];

function chat({ model, stream, tools }) {
  const functions = NAMES.map((name) => ({ type: "function", function: { name, parameters: SCHEMA } }));
  return { model, messages: MESSAGES, stream, ...(tools && { tools: functions }) };
}

const counted = ({ stream }) => stream && { stream_options: { include_usage: true } };

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
  #controller = new AbortController();

  constructor(number) {
    this.number = number;
  }

  get signal() {
    return this.#controller.signal;
  }

  // Note a piece of text, and leave where that is wanted; whether it was.
  heard(text, ask) {
    this.text += text;
    this.#tokens += text !== "";
    if (this.#tokens !== ask.leaveAfter) return false;
    this.leave();
    return true;
  }

  leave() {
    this.left = now();
    this.#controller.abort();
  }
}

async function chatChunks(chunks, ask, seen) {
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
      if (seen.heard(delta.content ?? "", ask)) return;
    }
  }
  seen.calls = calls.map(([name, text]) => [name, JSON.parse(text)]);
}

function chatWhole({ choices: [{ message, finish_reason }], usage }, seen) {
  seen.text = message.content ?? "";
  seen.thinking = message.reasoning_content ?? "";
  seen.calls = (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  seen.finish = finish_reason;
  seen.usage = usage.completion_tokens;
}

function responseEnd({ output, status, incomplete_details, usage }, seen) {
  const calls = output.filter(({ type }) => type === "function_call");
  seen.calls = calls.map(({ name, arguments: text }) => [name, JSON.parse(text)]);
  seen.finish = incomplete_details?.reason ?? status;
  seen.usage = usage.output_tokens;
}

function responseWhole(response, seen) {
  const thoughts = response.output.filter(({ type }) => type === "reasoning").flatMap(({ summary }) => summary);
  seen.text = response.output_text;
  seen.thinking = thoughts.map(({ text }) => text).join("");
  responseEnd(response, seen);
}

async function responseEvents(events, ask, seen) {
  for await (const { type, delta, response } of events) {
    if (type === "response.reasoning_summary_text.delta") seen.thinking += delta;
    if (type === "response.failed") throw response.error;
    if (type === "response.completed" || type === "response.incomplete") responseEnd(response, seen);
    if (type === "response.output_text.delta" && seen.heard(delta, ask)) return;
  }
}

function messageWhole({ content, stop_reason, usage }, seen) {
  for (const block of content) {
    if (block.type === "text") seen.text += block.text;
    if (block.type === "thinking") seen.thinking += block.thinking;
    if (block.type === "tool_use") seen.calls.push([block.name, block.input]);
  }
  [seen.finish, seen.usage] = [stop_reason, usage.output_tokens];
}

async function messageEvents(events, ask, seen) {
  const calls = {};
  for await (const { type, index, content_block, delta, usage } of events) {
    if (content_block?.type === "tool_use") calls[index] = [content_block.name, ""];
    if (type === "message_delta") [seen.finish, seen.usage] = [delta.stop_reason, usage.output_tokens];
    if (delta?.type === "thinking_delta") seen.thinking += delta.thinking;
    if (delta?.type === "input_json_delta") calls[index][1] += delta.partial_json;
    if (delta?.type === "text_delta" && seen.heard(delta.text, ask)) return;
  }
  seen.calls = Object.values(calls).map(([name, text]) => [name, JSON.parse(text)]);
}

async function adapter(provider, apiKey, ask, seen) {
  const api = constructLlmApi({ provider, apiBase: `${ask.url}/v1/`, apiKey, model: "any" });
  const body = { ...chat(ask), ...counted(ask) };
  if (ask.stream) await chatChunks(api.chatCompletionStream(body, seen.signal), ask, seen);
  else chatWhole(await api.chatCompletionNonStream(body, seen.signal), seen);
}

// Ollama's abort() ends the streams whose answers have begun, and nothing else; a `break` alone leaves them open.
async function ollama(method, body, ask, seen) {
  const client = new Ollama({ host: ask.url });
  const answer = await client[method](body);
  if (!ask.stream) return [answer];
  seen.signal.addEventListener("abort", () => client.abort());
  if (seen.signal.aborted) client.abort();
  return answer;
}

const openai = ({ url }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const compatible = ({ url }) => createOpenAICompatible({ name: "penstock", baseURL: `${url}/v1`, includeUsage: true });
const vector = (embedding) => JSON.stringify(Array.from(embedding));

const CLIENTS = {
  async "openai js: chat"(ask, seen) {
    const body = { ...chat(ask), ...counted(ask) };
    const answer = await openai(ask).chat.completions.create(body, { signal: seen.signal });
    if (ask.stream) await chatChunks(answer, ask, seen);
    else chatWhole(answer, seen);
  },

  async "openai js: completions"(ask, seen) {
    const { model, stream } = ask;
    const body = { model, stream, prompt: "Count.", ...counted(ask) };
    const answer = await openai(ask).completions.create(body, { signal: seen.signal });
    for await (const { choices, usage } of stream ? answer : [answer]) {
      seen.usage = usage?.completion_tokens ?? seen.usage;
      for (const { text, finish_reason } of choices) {
        seen.finish = finish_reason ?? seen.finish;
        if (seen.heard(text, ask)) return;
      }
    }
  },

  async "openai js: responses"(ask, seen) {
    const { model, stream } = ask;
    const tools = NAMES.map((name) => ({ type: "function", name, parameters: SCHEMA, strict: false }));
    const body = { model, stream, input: "Count.", ...(ask.tools && { tools }) };
    const answer = await openai(ask).responses.create(body, { signal: seen.signal });
    if (stream) await responseEvents(answer, ask, seen);
    else responseWhole(answer, seen);
  },

  async "openai js: embeddings"(ask, seen) {
    const { data, usage } = await openai(ask).embeddings.create({ model: ask.model, input: "Count." });
    [seen.text, seen.usage] = [vector(data[0].embedding), usage.prompt_tokens];
  },

  async "ollama js: chat"(ask, seen) {
    for await (const { message, done, done_reason, eval_count } of await ollama("chat", chat(ask), ask, seen)) {
      seen.thinking += message.thinking ?? "";
      seen.calls.push(...(message.tool_calls ?? []).map((call) => [call.function.name, call.function.arguments]));
      if (done) [seen.finish, seen.usage] = [done_reason, eval_count];
      if (seen.heard(message.content, ask)) return;
    }
  },

  async "ollama js: generate"(ask, seen) {
    const { model, stream } = ask;
    const parts = await ollama("generate", { model, stream, prompt: "Count." }, ask, seen);
    for await (const { response, thinking, done, done_reason, eval_count } of parts) {
      seen.thinking += thinking ?? "";
      if (done) [seen.finish, seen.usage] = [done_reason, eval_count];
      if (seen.heard(response, ask)) return;
    }
  },

  async "ollama js: embed"(ask, seen) {
    const answer = await new Ollama({ host: ask.url }).embed({ model: ask.model, input: "Count." });
    [seen.text, seen.usage] = [vector(answer.embeddings[0]), answer.prompt_eval_count];
  },

  async "anthropic js: messages"(ask, seen) {
    const client = new Anthropic({ baseURL: ask.url, apiKey: "none", maxRetries: 0 });
    const { model, stream } = ask;
    const tools = NAMES.map((name) => ({ name, input_schema: SCHEMA }));
    const body = { model, stream, max_tokens: 4096, messages: MESSAGES, ...(ask.tools && { tools }) };
    const answer = await client.messages.create(body, { signal: seen.signal });
    if (stream) await messageEvents(answer, ask, seen);
    else messageWhole(answer, seen);
  },

  async "AI SDK: chat"(ask, seen) {
    const tools = Object.fromEntries(NAMES.map((name) => [name, tool({ inputSchema: jsonSchema(SCHEMA) })]));
    const call = {
      model: compatible(ask)(ask.model),
      messages: MESSAGES,
      maxRetries: 0,
      abortSignal: seen.signal,
      ...(ask.tools && { tools }),
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
      if (part.type === "text-delta") seen.heard(part.text, ask);
    }
  },

  async "AI SDK: embed"(ask, seen) {
    const model = compatible(ask).textEmbeddingModel(ask.model);
    const { embedding, usage } = await embed({ model, value: "Count.", maxRetries: 0 });
    [seen.text, seen.usage] = [vector(embedding), usage.tokens];
  },

  "Continue: chat": (ask, seen) => adapter("openai", "none", ask, seen),

  // speaks the OpenAI dialect too, with an empty bearer token
  "Continue's Ollama: chat": (ask, seen) => adapter("ollama", "", ask, seen),
};

// What an application would show: an error's text, or the text of the object that some clients throw.
const told = (error) => error?.message ?? JSON.stringify(error);

// Before the first word, as soon as all of these pages have answered.
async function leaveWhen(pages, seen) {
  for (const page of pages) await fetch(page);
  if (pages.length > 0) seen.leave();
}

async function answer(ask) {
  const seen = new Seen(ask.number);
  leaveWhen(ask.leaveWhen, seen);
  try {
    await CLIENTS[ask.client](ask, seen);
  } catch (error) {
    // leaving is told as an error by some clients
    if (seen.left === null) seen.error = told(error);
  }
  console.log(JSON.stringify(seen));
}

for await (const line of createInterface({ input: process.stdin })) answer(JSON.parse(line));
