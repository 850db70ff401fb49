"""The clients that speak in OpenAI's words: chat, completions, the Responses API, typed events."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from matrix.client import (
    ARGUMENTS,
    FINISHES,
    FUNCTIONS,
    IMAGE_URL,
    NAME,
    SCHEMA_FORMAT,
    TURNS,
    Body,
    Client,
    last_error,
    openai_usage,
    settled,
)
from matrix.facts import PARAMETERS, PNG, RESULT, SCHEMA, TOOLS, Answer
from openai_conformance import check_openai_stream
from responses_conformance import check_responses_stream
from typed_events_conformance import check_typed_events


class OpenAIChat(Client):
    name, dialect = "OpenAI chat", "openai"
    stream_path = whole_path = "/v1/chat/completions"
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": FUNCTIONS},
        "results": {"messages": TURNS},
        "image": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE_URL]}]},
        "schema": {"response_format": SCHEMA_FORMAT},
        "sampling": {"max_tokens": 9, "temperature": 0.5, "stop": ["END"]},
    }

    def body(self, model: str, stream: bool) -> Body:
        usage = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}], **usage}

    def streamed(self, body: bytes) -> Answer:
        chunks = check_openai_stream(body)
        answer = Answer(error=last_error(body))
        calls: list[list[str]] = []
        for chunk in chunks:
            if not chunk["choices"]:
                answer.usage = openai_usage(chunk["usage"])
                continue
            (choice,) = chunk["choices"]
            delta = choice["delta"]
            answer.text += delta.get("content") or ""
            answer.thinking += delta.get("reasoning_content") or ""
            for piece in delta.get("tool_calls") or ():
                if piece["index"] == len(calls):
                    calls.append([piece["function"]["name"], ""])
                calls[piece["index"]][1] += piece["function"]["arguments"]
            answer.finish = choice["finish_reason"] or answer.finish
        return settled(answer, calls)

    def whole(self, body: Any) -> Answer:
        (choice,) = body["choices"]
        message = choice["message"]
        functions = [call["function"] for call in message.get("tool_calls", ())]
        return Answer(
            text=message["content"] or "",
            thinking=message.get("reasoning_content") or "",
            calls=[(function["name"], json.loads(function["arguments"])) for function in functions],
            finish=choice["finish_reason"],
            usage=openai_usage(body["usage"]),
        )

    def refusal(self, body: bytes) -> str:
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return str(error["message"])


class OpenAICompletions(Client):
    name, dialect = "OpenAI completions", "openai"
    stream_path = whole_path = "/v1/completions"
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": FUNCTIONS},
        "results": {"messages": TURNS},
        "image": {"images": [PNG]},
        "schema": {"response_format": SCHEMA_FORMAT},
        "sampling": {"max_tokens": 9, "temperature": 0.5, "stop": ["END"]},
    }

    def body(self, model: str, stream: bool) -> Body:
        usage = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": model, "stream": stream, "prompt": f"{model}\nhello", **usage}

    def streamed(self, body: bytes) -> Answer:
        answer = Answer(error=last_error(body))
        for chunk in check_openai_stream(body):
            if not chunk["choices"]:
                answer.usage = openai_usage(chunk["usage"])
                continue
            (choice,) = chunk["choices"]
            answer.text += choice["text"]
            answer.finish = choice["finish_reason"] or answer.finish
        return settled(answer, [])

    def whole(self, body: Any) -> Answer:
        (choice,) = body["choices"]
        return Answer(text=choice["text"], finish=choice["finish_reason"], usage=openai_usage(body["usage"]))

    def refusal(self, body: bytes) -> str:
        return OpenAIChat().refusal(body)


class Responses(Client):
    name, dialect = "OpenAI Responses", "responses"
    stream_path = whole_path = "/v1/responses"
    beats = (b"event: response.in_progress\n", b"\n")
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": [{"type": "function", **tool, "parameters": PARAMETERS} for tool in TOOLS]},
        "results": {
            "input": [
                {"type": "message", "role": "user", "content": "hello"},
                {"type": "function_call", "call_id": "call_1", "name": NAME, "arguments": json.dumps(ARGUMENTS)},
                {"type": "function_call_output", "call_id": "call_1", "output": RESULT},
            ]
        },
        "image": {
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is it?"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    ],
                }
            ]
        },
        "schema": {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}}},
        "sampling": {"max_output_tokens": 9, "temperature": 0.5, "stop": ["END"]},
    }

    def body(self, model: str, stream: bool) -> Body:
        return {"model": model, "stream": stream, "input": "hello"}

    def streamed(self, body: bytes) -> Answer:
        events = check_responses_stream(body)
        answer = self.whole(events[-1]["response"])
        if answer.error is not None:
            # what a client has shown by then
            answer.text = "".join([e["delta"] for e in events if e["type"] == "response.output_text.delta"])
        return answer

    def whole(self, body: Any) -> Answer:
        answer = Answer(error=body["error"] and body["error"]["message"])
        for item in body["output"]:
            match item["type"]:
                case "message":
                    answer.text += "".join([part["text"] for part in item["content"]])
                case "reasoning":
                    answer.thinking += "".join([part["text"] for part in item["summary"]])
                case "function_call" if item["status"] == "completed":
                    answer.calls.append((item["name"], json.loads(item["arguments"])))
        if body["status"] != "failed":
            stopped = "tool_calls" if answer.calls else "stop"
            answer.finish = stopped if body["status"] == "completed" else FINISHES[body["incomplete_details"]["reason"]]
            answer.usage = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
        return answer

    def refusal(self, body: bytes) -> str:
        return OpenAIChat().refusal(body)


class TypedEvents(Client):
    name, dialect = "typed events", "typed_events"
    stream_path, whole_path = "/api/chat/stream", None
    says: ClassVar[dict[str, Body]] = OpenAIChat.says

    def body(self, model: str, stream: bool) -> Body:
        return {"model": model, "messages": [{"role": "user", "content": "hello"}]}

    def streamed(self, body: bytes) -> Answer:
        answer = Answer()
        for name, value in check_typed_events(body):
            match name:
                case "token":
                    answer.text += value
                case "thinking":
                    answer.thinking += value
                case "tool":
                    answer.calls.append((value["name"], value["arguments"]))
                case "done":
                    answer.finish = value["reason"]
                    answer.usage = openai_usage(value["usage"])
                case "error":
                    answer.error = value["error"]
        return answer

    def whole(self, body: Any) -> Answer:
        raise AssertionError("typed events are a stream")

    def refusal(self, body: bytes) -> str:
        error = json.loads(body)
        assert set(error) == {"error", "reason"}
        return str(error["error"])
