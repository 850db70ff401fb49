"""The clients that speak a server's own language: Ollama's, Anthropic's, KoboldCpp's."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from anthropic_conformance import check_anthropic_error, check_anthropic_stream
from koboldcpp_conformance import check_koboldcpp_stream
from matrix.client import (
    ARGUMENTS,
    FINISHES,
    FUNCTIONS,
    NAME,
    SCHEMA_FORMAT,
    TURNS,
    Body,
    Client,
    last_error,
    settled,
)
from matrix.facts import PARAMETERS, PNG, RESULT, SCHEMA, TOOLS, Answer
from ollama_conformance import check_ollama_stream


class OllamaChat(Client):
    name, dialect = "Ollama chat", "ollama"
    stream_path = whole_path = "/api/chat"
    beats = (b" ", b" ")
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": FUNCTIONS},
        "results": {
            "messages": [
                {"role": "user", "content": "hello"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": NAME, "arguments": ARGUMENTS}}],
                },
                {"role": "tool", "tool_name": NAME, "content": RESULT},
            ]
        },
        "image": {"messages": [{"role": "user", "content": "What is it?", "images": [PNG]}]},
        "schema": {"format": SCHEMA},
        "sampling": {"options": {"num_predict": 9, "temperature": 0.5, "stop": ["END"]}},
    }

    def body(self, model: str, stream: bool) -> Body:
        return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}

    def streamed(self, body: bytes) -> Answer:
        lines: list[Body] = check_ollama_stream(body, "chat")
        return self.collected(lines)

    def whole(self, body: Any) -> Answer:
        return self.collected([body])

    def collected(self, lines: list[Body]) -> Answer:
        answer = Answer()
        for line in lines:
            if "error" in line:
                answer.error = line["error"]
                continue
            said = self.said(line)
            answer.text += said["content"]
            answer.thinking += said.get("thinking") or ""
            answer.calls += [
                (call["function"]["name"], call["function"]["arguments"]) for call in said.get("tool_calls", ())
            ]
            if line["done"]:
                stopped = answer.calls and line["done_reason"] == "stop"
                answer.finish = "tool_calls" if stopped else line["done_reason"]
                answer.usage = (line["prompt_eval_count"], line["eval_count"])
        return answer

    def said(self, line: Body) -> Body:
        message: Body = line["message"]
        return message

    def refusal(self, body: bytes) -> str:
        error = json.loads(body)
        assert list(error) == ["error"]
        return str(error["error"])


class OllamaGenerate(OllamaChat):
    name, dialect = "Ollama generate", "ollama"
    stream_path = whole_path = "/api/generate"
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": FUNCTIONS},
        "results": {"messages": TURNS},
        "image": {"images": [PNG]},
        "schema": {"format": SCHEMA},
        "sampling": {"options": {"num_predict": 9, "temperature": 0.5, "stop": ["END"]}},
    }

    def body(self, model: str, stream: bool) -> Body:
        return {"model": model, "stream": stream, "prompt": "hello"}

    def streamed(self, body: bytes) -> Answer:
        return self.collected(check_ollama_stream(body, "completion"))

    def said(self, line: Body) -> Body:
        return {"content": line["response"], "thinking": line.get("thinking")}


class Anthropic(Client):
    name, dialect = "Anthropic messages", "anthropic"
    stream_path = whole_path = "/v1/messages"
    beats = (b"event: ping\n", b"\n")
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": [{**tool, "input_schema": PARAMETERS} for tool in TOOLS]},
        "results": {
            "messages": [
                {"role": "user", "content": "hello"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "toolu_1", "name": NAME, "input": ARGUMENTS}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": RESULT}]},
            ]
        },
        "image": {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                }
            ]
        },
        "schema": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        "sampling": {"max_tokens": 9, "temperature": 0.5, "stop_sequences": ["END"]},
    }

    def body(self, model: str, stream: bool) -> Body:
        asks = [{"role": "user", "content": "hello"}]
        return {"model": model, "stream": stream, "max_tokens": 100, "messages": asks}

    def streamed(self, body: bytes) -> Answer:
        answer = Answer(error=last_error(body))
        calls: list[list[str]] = []
        usage: dict[str, int] = {}
        for event in check_anthropic_stream(body):
            match event:
                case {"type": "message_start", "message": message}:
                    usage |= message["usage"]
                case {"content_block": {"type": "tool_use", "name": name}}:
                    calls.append([name, ""])
                case {"delta": {"text": text}}:
                    answer.text += text
                case {"delta": {"thinking": thinking}}:
                    answer.thinking += thinking
                case {"delta": {"partial_json": piece}}:
                    calls[-1][1] += piece
                case {"delta": {"stop_reason": reason}, "usage": last}:
                    answer.finish = FINISHES[reason]
                    usage |= last
                    answer.usage = (usage["input_tokens"], usage["output_tokens"])
        return settled(answer, calls)

    def whole(self, body: Any) -> Answer:
        def all_of(kind: str, field: str) -> str:
            return "".join([block[field] for block in body["content"] if block["type"] == kind])

        return Answer(
            text=all_of("text", "text"),
            thinking=all_of("thinking", "thinking"),
            calls=[(block["name"], block["input"]) for block in body["content"] if block["type"] == "tool_use"],
            finish=FINISHES[body["stop_reason"]],
            usage=(body["usage"]["input_tokens"], body["usage"]["output_tokens"]),
        )

    def refusal(self, body: bytes) -> str:
        return str(check_anthropic_error(body)["message"])


class KoboldCpp(Client):
    name, dialect = "KoboldCpp generate", "koboldcpp"
    stream_path, whole_path = "/api/extra/generate/stream", "/api/v1/generate"
    counts_streams = False
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": FUNCTIONS},
        "results": {"messages": TURNS},
        "image": {"images": [PNG]},
        "schema": {"response_format": SCHEMA_FORMAT},
        "sampling": {"max_length": 9, "temperature": 0.5, "stop_sequence": ["END"]},
    }

    def body(self, model: str, stream: bool) -> Body:
        return {"model": model, "prompt": f"{model}\nhello"}

    def streamed(self, body: bytes) -> Answer:
        frames = check_koboldcpp_stream(body)
        error = frames[-1].get("error")
        finish = None if error else frames[-1]["finish_reason"]
        return Answer(text="".join([frame["token"] for frame in frames]), finish=finish, error=error)

    def whole(self, body: Any) -> Answer:
        (result,) = body["results"]
        usage = (result["prompt_tokens"], result["completion_tokens"])
        return Answer(text=result["text"], finish=result["finish_reason"], usage=usage)

    def refusal(self, body: bytes) -> str:
        detail = json.loads(body)["detail"]
        assert set(detail) == {"msg", "type"}
        return str(detail["msg"])
