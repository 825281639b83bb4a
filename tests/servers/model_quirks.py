"""Table of answers of OpenAI-compatible services that differ from OpenAI's format.

Each row is data for `tests.servers.model`: the bytes of one service, and the text that a user may read.
docs/models.md names the services.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers.model import Ending, Wire

Json = Any
DONE = b"data: [DONE]\n\n"
ANSWER = "It is 42."


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """`wires` are sent in order, the last one again and again; where there is `then`, it follows them.

    `reads`: all the text that the person gets, or a part of the sentence if there is no answer, which then
    has a `status` for HTTP. `notice`: a part of what is said beside the answer. `requests` are made in all,
    and `queries` are what the tool `sql_query` ran. `timeout`: seconds for which the model may be silent.
    """

    name: str
    wires: Sequence[Wire]
    reads: str = ANSWER
    requests: int = 1
    status: int | None = None
    queries: Sequence[str] = ()
    then: str = ""
    notice: str = ""
    timeout: float = 10


def chunk(delta: Json = None, reason: Json = None, **more: Json) -> dict[str, Json]:
    """Return one chunk of a stream, with further fields beside its choices."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def text(content: Json, reason: Json = None, **more: Json) -> dict[str, Json]:
    return chunk({"content": content}, reason, **more)


def event(value: Json) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def stream(*values: Json, done: bool = True, ending: Ending = "close") -> Wire:
    """Return a stream of JSON values and raw bytes."""
    chunks = [each if isinstance(each, bytes) else event(each) for each in values]
    return Wire(chunks=[*chunks, *([DONE] if done else [])], ending=ending)


def body(value: Json, status: int = 200, kind: str = "application/json", **headers: str) -> Wire:
    """Return a response that is not a stream."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {name.replace("_", "-"): each for name, each in headers.items()}
    return Wire(chunks=[content], status=status, headers={"Content-Type": kind, **named})


def error(status: int, message: str, code: Json = None, **headers: str) -> Wire:
    """Return an error in OpenAI's format."""
    return body({"error": {"message": message, "type": "error", "code": code}}, status, **headers)


def call(
    arguments: Json, *, index: Json = 0, id: Json = "call_1", name: Json = "sql_query", **more: Json
) -> Json:
    piece: dict[str, Json] = {"type": "function", "function": {"name": name, "arguments": arguments}, **more}
    if index is not None:
        piece["index"] = index
    if id is not None:
        piece["id"] = id
    return piece


def calls(*pieces: Json, reason: Json = None) -> dict[str, Json]:
    return chunk({"tool_calls": list(pieces)}, reason)


END = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")
ONE = '{"query": "select 1"}'
TWO = '{"query": "select 2"}'
PARTS = [text("It is"), text(" 42.")]
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def ended(name: str, *values: Json, **more: Any) -> Quirk:
    return Quirk(name=name, wires=[stream(*values)], **more)


def raw(name: str, content: bytes, *, cut: int = 0, **more: Any) -> Quirk:
    """Return a row with the bytes of a stream, in pieces of `cut` bytes."""
    pieces = [content[at : at + cut] for at in range(0, len(content), cut)] if cut else [content]
    return Quirk(name=name, wires=[Wire(chunks=pieces)], **more)


def tools(name: str, *values: Json, queries: Sequence[str] = ("select 1",), done: bool = True) -> Quirk:
    """Return a row with calls of `sql_query`, followed by the answer."""
    return Quirk(name=name, wires=[stream(*values, done=done)], then=ANSWER, queries=queries, requests=2)


def failed(name: str, wire: Wire, reads: str, status: int, requests: int = 1, **more: Any) -> Quirk:
    return Quirk(name=name, wires=[wire], reads=reads, status=status, requests=requests, **more)


ENDS = [
    ended("finish reason on two chunks", *PARTS, END, END),
    ended("finish reason on every chunk", text("It is", "stop"), text(" 42.", "stop")),
    ended("finish reason on two chunks, usage on both", *PARTS, chunk({}, "stop", usage=USAGE), END),
    ended("finish reason in capitals", *PARTS, chunk({}, "STOP")),
    ended("finish reason eos", *PARTS, chunk({}, "eos")),
    ended("finish reason end_turn", *PARTS, chunk({}, "end_turn")),
    ended("finish reason unknown, then the sign", *PARTS, chunk({}, "because")),
    ended("finish reason missing before the sign", *PARTS),
    ended("finish reason empty on every chunk", text("It is", ""), text(" 42.", ""), chunk({}, "")),
    ended("finish reason null as a word", text("It is", "null"), text(" 42.", "null")),
    ended("finish reason with the last word", text("It is"), text(" 42.", "stop")),
    ended("finish reason of tools without a call", *PARTS, chunk({}, "tool_calls")),
    ended("last delta null", *PARTS, {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}),
    Quirk(name="no sign at the end", wires=[stream(*PARTS, END, done=False)]),
    Quirk(
        name="usage instead of an end",
        wires=[stream(*PARTS, {"choices": [], "usage": USAGE}, done=False)],
    ),
    Quirk(
        name="reason on every chunk and no sign",
        wires=[stream(text("It is", "stop"), text(" 42.", "stop"), done=False)],
    ),
    Quirk(name="connection lost after the end", wires=[stream(*PARTS, END, done=False, ending="drop")]),
    Quirk(name="connection left open after the sign", wires=[stream(*PARTS, END, ending="hang")]),
    Quirk(
        name="connection left open after the end, without a sign",
        wires=[stream(*PARTS, END, done=False, ending="hang")],
        timeout=1,
    ),
    Quirk(name="sign in quotes", wires=[stream(*PARTS, b'data: "[DONE]"\n\n', done=False, ending="hang")]),
    ended("text behind the sign", *PARTS, END, DONE, text(" No, 43.")),
    Quirk(
        name="reason on every chunk and a lost connection",
        wires=[
            stream(text("It is", "stop"), text(" 4", "stop"), done=False, ending="drop"),
            stream(*PARTS, END),
        ],
        reads="It is 4" + ANSWER,
        requests=2,
        notice="was interrupted",
    ),
    Quirk(
        name="end of the connection without an end",
        wires=[stream(text("It is"), done=False), stream(*PARTS, END)],
        reads="It is" + ANSWER,
        requests=2,
        notice="was interrupted",
    ),
    Quirk(
        name="error as the finish reason",
        wires=[stream(text("It is"), chunk({}, "error")), stream(*PARTS, END)],
        reads="It is" + ANSWER,
        requests=2,
        notice="was interrupted",
    ),
    Quirk(
        name="error event in mid-stream",
        wires=[
            stream(
                text("It is"), {"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}
            ),
            stream(*PARTS, END),
        ],
        reads="It is" + ANSWER,
        requests=2,
        notice="was interrupted",
    ),
    ended("cut by its length", *PARTS, chunk({}, "MAX_TOKENS"), notice="length limit"),
    ended("cut by the filter", *PARTS, chunk({}, "content_filter"), notice="content filter"),
]

FORMS = [
    raw("CRLF", b"".join(map(event, [*PARTS, END])).replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n"),
    raw("CRLF cut in its middle", b"".join(map(event, [*PARTS, END])).replace(b"\n", b"\r\n"), cut=1),
    raw("only CR", b"".join(map(event, [*PARTS, END])).replace(b"\n", b"\r")),
    raw(
        "no blank after the colon", (b"".join(map(event, [*PARTS, END])) + DONE).replace(b"data: ", b"data:")
    ),
    raw("no blank lines", (b"".join(map(event, [*PARTS, END])) + DONE).replace(b"\n\n", b"\n")),
    raw("no newline at the end", b"".join(map(event, [*PARTS, END])).rstrip()),
    raw("byte order mark", b"\xef\xbb\xbf" + b"".join(map(event, [*PARTS, END])) + DONE),
    raw("byte by byte", b"".join(map(event, [*PARTS, END])) + DONE, cut=1),
    raw(
        "cut within a character",
        "data: {}\n\n".format(json.dumps(text("Größe: 42 €"), ensure_ascii=False)).encode() + DONE,
        cut=1,
        reads="Größe: 42 €",
    ),
    raw(
        "halves of a character", event(text("It is \ud83d")) + event(text("\ude00")) + DONE, reads="It is 😀"
    ),
    raw("half of a character", event(text("It is \ud83d")) + DONE, reads="It is \ufffd"),
    raw(
        "several data lines",
        b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "It is 42."}}]}\n\n' + DONE,
    ),
    raw(
        "line break within JSON text",
        b'data: {"choices": [{"delta": {"content": "a\tb"}}]}\n\n' + DONE,
        reads="a\tb",
    ),
    ended("comments", b": OPENROUTER PROCESSING\n\n", PARTS[0], b": keep-alive\n", PARTS[1], END),
    ended(
        "retry and id lines", b"retry: 3000\n\n", b"id: 1\n", PARTS[0], b"id: 2\nretry: x\n\n", PARTS[1], END
    ),
    ended("named events", b"event: message\n", PARTS[0], b"event: chunk\n", PARTS[1], END),
    ended("pings as events", b"event: ping\ndata: {}\n\n", b"data: ping\n\n", b"data: \n\n", *PARTS, END),
    ended("values that are no chunks", [1, 2], 7, None, "x", *PARTS, END),
    Quirk(
        name="wrong content type",
        wires=[Wire(chunks=stream(*PARTS, END).chunks, headers={"Content-Type": "text/plain"})],
    ),
    Quirk(
        name="whole answer in JSON",
        wires=[body({"choices": [{"index": 0, "message": {"content": ANSWER}, "finish_reason": "stop"}]})],
    ),
    Quirk(
        name="whole answer in JSON, indented",
        wires=[
            body(
                json.dumps(
                    {"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]}, indent=2
                ).encode()
            )
        ],
    ),
    ended("message for delta", {"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]}),
    ended(
        "whole message repeated at the end",
        *PARTS,
        {"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]},
    ),
    ended(
        "text of old completions",
        {"choices": [{"text": "It is"}]},
        {"choices": [{"text": " 42.", "finish_reason": "stop"}]},
    ),
    ended(
        "role in every chunk",
        *(chunk({"role": "assistant", **each["choices"][0]["delta"]}) for each in PARTS),
        END,
    ),
    ended(
        "Azure's first chunk", {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, *PARTS, END
    ),
    ended("choices null", {"choices": None}, *PARTS, END),
    ended(
        "choices as an object", {"choices": PARTS[0]["choices"][0]}, {"choices": PARTS[1]["choices"][0]}, END
    ),
    ended(
        "second choice first",
        {"choices": [{"index": 1, "delta": {"content": "It is"}}]},
        {"choices": [{"index": 0, "delta": {"content": "No."}}, {"index": 1, "delta": {"content": " 42."}}]},
    ),
    ended(
        "no index",
        {"choices": [{"delta": {"content": "It is"}}]},
        text(" 42."),
        {"choices": [{"finish_reason": "stop"}]},
    ),
    ended(
        "calls null or empty",
        chunk({"content": "It is", "tool_calls": None}),
        chunk({"content": " 42.", "tool_calls": []}),
        END,
    ),
    ended(
        "content as parts",
        text([{"type": "text", "text": "It is"}]),
        text([{"type": "text", "text": " 42."}, {"type": "x"}]),
        END,
    ),
    ended(
        "usage null", *(text(each, usage=None) for each in ("It is", " 42.")), chunk({}, "stop", usage=None)
    ),
    ended(
        "usage in fractions",
        *PARTS,
        chunk({}, "stop", usage={"prompt_tokens": 9.5, "completion_tokens": None}),
    ),
    ended(
        "usage as words", *PARTS, chunk({}, "stop", usage={"prompt_tokens": "many", "completion_tokens": -3})
    ),
    ended("usage as a list", *PARTS, chunk({}, "stop", usage=[1])),
    ended(
        "usage in every chunk",
        *(text(each, usage=USAGE) for each in ("It is", " 42.")),
        chunk({}, "stop", usage=USAGE),
    ),
    ended("running usage without choices", PARTS[0], {"choices": [], "usage": USAGE}, PARTS[1], END),
    ended("error null", *(text(each, error=None) for each in ("It is", " 42.")), END),
]

THOUGHTS = [
    ended("thinking in tags", text("<think>2 * 21</think>"), *PARTS, END),
    ended(
        "thinking in tags, cut anywhere",
        *(text(each) for each in "<think>\n2 * 21\n</think>\n\nIt is 42."),
        END,
    ),
    ended("thinking in capitals", text("<THINK>hm</THINK>\nIt is 42."), END),
    ended("thinking in other tags", text("<thought>hm</thought>"), *PARTS, END),
    ended("thinking of MiniMax", text("<mm:think>"), text("hm"), text("</mm:think>"), *PARTS, END),
    ended("thinking of Mistral", text("[THINK]hm[/THINK]It is 42."), END),
    ended("thinking in the middle", text("It is <think>6 * 7</think>42."), END),
    ended("thinking twice", text("<think>a</think><think>b</think>It is 42."), END),
    ended("empty thinking", text("<think>\n\n</think>\n\nIt is 42."), END),
    ended("tag in code", text("Write `<think>` first."), END, reads="Write `<think>` first."),
    ended(
        "tag in a fence", text("```\n</think>\n```\nIt is 42."), END, reads="```\n</think>\n```\nIt is 42."
    ),
    ended("tag that nothing ends", text("The tag <think> is odd."), END, reads="The tag <think> is odd."),
    ended("brackets that are no tags", text("a < b, <b>, [1], <thin"), END, reads="a < b, <b>, [1], <thin"),
    ended("thinking in its own field", chunk({"reasoning_content": "2 * 21"}), *PARTS, END),
    ended("thinking in another field", chunk({"reasoning": "2 * 21", "content": ""}), *PARTS, END),
    ended(
        "thinking as parts",
        text([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
        *PARTS,
        END,
    ),
    ended(
        "details of thinking",
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        *PARTS,
        END,
    ),
    ended(
        "thinking that the template opens",
        text("2 * 21 is"),
        text(" 42.\n</thi"),
        text("nk>\n\nIt is 42."),
        END,
        reads="2 * 21 is 42.\nIt is 42.",
        notice="was the model's reasoning",
    ),
    ended("thinking that the template opens, in one piece", text("2 * 21\n</think>\n\nIt is 42."), END),
    failed("only thinking", stream(chunk({"reasoning_content": "hm"}), END), "gave no answer", 502, 2),
    failed("only thinking in tags", stream(text("<think>hm"), END), "gave no answer", 502, 2),
    failed(
        "only thinking up to the limit", stream(text("<think>hm"), chunk({}, "length")), "length limit", 502
    ),
    ended(
        "refusal",
        chunk({"refusal": "I will not "}),
        chunk({"refusal": "do that."}),
        END,
        reads="I will not do that.",
    ),
    ended("refusal after words", text("Well."), chunk({"refusal": "No."}), END, reads="Well.\n\nNo."),
    ended("refusal as a part", text([{"type": "refusal", "refusal": "No."}]), END, reads="No."),
    failed(
        "withheld by the filter",
        stream(chunk({"content": None}, "content_filter")),
        "blocked this answer",
        502,
    ),
    failed("withheld by Gemini", stream(chunk({}, "SAFETY")), "blocked this answer", 502),
]

CALLS = [
    tools("call without an index", calls(call(ONE, index=None)), CALLED),
    tools(
        "call in pieces without an index",
        calls(call('{"query": ', index=None)),
        calls(call('"select 1"}', index=None, id=None, name=None)),
        CALLED,
    ),
    tools(
        "two calls without an index",
        calls(call(ONE, index=None)),
        calls(call(TWO, index=None, id="call_2")),
        CALLED,
        queries=("select 1", "select 2"),
    ),
    tools(
        "two calls without index and id",
        calls(call(ONE, index=None, id=None)),
        calls(call(TWO, index=None, id=None)),
        CALLED,
        queries=("select 1", "select 2"),
    ),
    tools(
        "two calls with index 0",
        calls(call(ONE)),
        calls(call(TWO, id="call_2")),
        CALLED,
        queries=("select 1", "select 2"),
    ),
    tools(
        "two calls with index 0 in one chunk",
        calls(call(ONE), call(TWO, id="call_2")),
        CALLED,
        queries=("select 1", "select 2"),
    ),
    tools(
        "two calls with index 0 and empty ids",
        calls(call(ONE, id="")),
        calls(call(TWO, id="")),
        CALLED,
        queries=("select 1", "select 2"),
    ),
    tools(
        "index as a word",
        calls(call('{"query": ', index="0")),
        calls(call('"select 1"}', index="0", id=None, name=None)),
        CALLED,
    ),
    tools("id in every piece", calls(call('{"query": ')), calls(call('"select 1"}')), CALLED),
    tools(
        "another id in every piece",
        calls(call('{"query": ')),
        calls(call('"select 1"}', id="call_9")),
        CALLED,
    ),
    tools("name in every piece", calls(call('{"query": ')), calls(call('"select 1"}', id=None)), CALLED),
    tools("name in pieces", calls(call("", name="sql_")), calls(call(ONE, id=None, name="query")), CALLED),
    tools("name of gpt-oss", calls(call(ONE, name="functions.sql_query<|channel|>commentary")), CALLED),
    tools("ids missing", calls(call(ONE, id=None)), CALLED),
    tools("long ids", calls(call(ONE, id="chatcmpl-tool-" + "a" * 40)), CALLED),
    tools("arguments as an object", calls(call({"query": "select 1"})), CALLED),
    tools(
        "arguments with raw newlines", calls(call('{"query": "select\n1"}')), CALLED, queries=("select\n1",)
    ),
    tools(
        "arguments with trailing commas",
        calls(call('{"query": "select 1, 2,]",}')),
        CALLED,
        queries=("select 1, 2,]",),
    ),
    tools("arguments encoded twice", calls(call(json.dumps(ONE))), CALLED),
    tools("arguments in a fence", calls(call(f"```json\n{ONE}\n```")), CALLED),
    tools(
        "arguments behind an empty object", calls(call("{}")), calls(call(ONE, id=None, name=None)), CALLED
    ),
    tools("arguments twice", calls(call(ONE + ONE)), CALLED),
    tools("arguments with a bracket too many", calls(call(ONE + "}")), CALLED),
    tools("arguments in a list", calls(call(f"[{ONE}]")), CALLED),
    tools("arguments null", calls(call("null")), CALLED, queries=()),
    tools("arguments an empty list", calls(call("[]")), CALLED, queries=()),
    tools("arguments that cannot be read", calls(call('{"query": "sel')), CALLED, queries=()),
    tools("arguments that are no object", calls(call("7")), CALLED, queries=()),
    tools("arguments with NaN", calls(call('{"query": NaN}')), CALLED, queries=()),
    tools("arguments nested too deeply", calls(call("[" * 5000)), CALLED, queries=()),
    tools(
        "a good call beside an unreadable one",
        calls(call(ONE), call('{"query"', index=1, id="call_2")),
        CALLED,
    ),
    tools(
        "a call cut by the length", calls(call(ONE), call('{"que', index=1, id="call_2")), chunk({}, "length")
    ),
    tools("a call cut before its arguments", calls(call("")), chunk({}, "length"), queries=()),
    tools("a call with the reason stop", calls(call(ONE)), END),
    tools("a call without an end", calls(call(ONE))),
    tools(
        "a call of the old kind",
        chunk({"function_call": {"name": "sql_query", "arguments": '{"query": '}}),
        chunk({"function_call": {"arguments": '"select 1"}'}}),
        chunk({}, "function_call"),
    ),
    tools("calls as an object", chunk({"tool_calls": call(ONE)}), CALLED),
    tools(
        "a call without its function",
        chunk({"tool_calls": [{"name": "sql_query", "parameters": {"query": "select 1"}}]}),
        CALLED,
    ),
    tools("calls that are none", chunk({"tool_calls": [None, 7, call(ONE)]}), CALLED),
    tools("an unknown name that no service takes back", calls(call(ONE, name="7 sql!")), CALLED, queries=()),
    Quirk(
        name="a whole answer with calls",
        wires=[
            body(
                {
                    "choices": [
                        {
                            "message": {"content": None, "tool_calls": [call(ONE)]},
                            "finish_reason": "tool_calls",
                        }
                    ]
                }
            )
        ],
        then=ANSWER,
        queries=("select 1",),
        requests=2,
    ),
]

SILENT = "has a problem at the moment"
FAILURES = [
    failed("200 and nothing", Wire(), SILENT, 502, 2),
    failed("200 and the sign alone", stream(), SILENT, 502, 2),
    failed("200 and an empty answer", stream(text(""), END), SILENT, 502, 2),
    failed("200 and HTML", body(b"<html><body>Sign in</body></html>", kind="text/html"), SILENT, 502, 2),
    failed("200 and a list", stream([1, 2], done=False), SILENT, 502, 2),
    failed("200 and half a chunk", stream(b'data: {"choices": [{"del\n\n', done=False), SILENT, 502, 2),
    failed("200 and JSON nested too deeply", stream(b"data: " + b'{"a":' * 5000 + b"\n\n"), SILENT, 502, 2),
    failed("200 and an error", body({"error": {"message": "upstream failed", "code": 500}}), SILENT, 502, 2),
    failed("200 and an error in words", body({"error": "internal error"}), SILENT, 502, 2),
    failed(
        "200 and an error without its field",
        body({"object": "error", "message": "CUDA", "code": 500}),
        SILENT,
        502,
        2,
    ),
    failed(
        "200 and LM Studio's error",
        stream({"error": {"message": "Compute error."}, "message": "Compute error."}),
        SILENT,
        502,
        2,
    ),
    failed("200 and a detail", body({"detail": "internal error"}), SILENT, 502, 2),
    failed(
        "200 and an error event", stream(b"event: error\ndata: Internal Server Error\n\n"), SILENT, 502, 2
    ),
    failed(
        "200 and an error in the choice",
        stream({"choices": [{"index": 0, "error": {"code": 502, "message": "x"}}]}),
        SILENT,
        502,
        2,
    ),
    failed(
        "200 and too many requests",
        body({"error": {"message": "Rate limit reached", "code": 429}}),
        "is overloaded",
        429,
        3,
    ),
    failed(
        "200 and an invalid key",
        body({"error": {"message": "Invalid API key", "code": 401}}),
        "OPENAI_API_KEY",
        503,
    ),
    failed("connection lost at once", Wire(ending="drop"), SILENT, 502, 2),
    failed("nothing ever comes", Wire(ending="hang"), "too long to answer", 504, 2, timeout=1),
    failed("comments for ever", Wire(ending="comment"), "too long to answer", 504, 2, timeout=0.2),
    failed(
        "comments and empty pieces for ever",
        stream(text(""), done=False, ending="comment"),
        "too long to answer",
        504,
        2,
        timeout=0.2,
    ),
    failed("401", error(401, "Incorrect API key provided"), "OPENAI_API_KEY", 503),
    failed("403 with HTML", body(b"<html>Forbidden</html>", 403, "text/html"), "OPENAI_API_KEY", 503),
    failed(
        "403 for its content", error(403, "Your input was flagged by moderation"), "blocked this answer", 502
    ),
    failed(
        "Gemini's wrong key",
        body([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], 400),
        "OPENAI_API_KEY",
        503,
    ),
    failed(
        "an error in pieces",
        Wire(
            chunks=[b'{"error": {"message": "', b"Insufficient", b' Balance"}}'],
            status=400,
            headers={"Content-Type": "application/json", "X-Policy": "x" * 20_000},
        ),
        "no credit",
        429,
    ),
    failed("402", error(402, "Insufficient Balance"), "no credit", 429),
    failed(
        "429 with an empty account",
        error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
        "no credit",
        429,
    ),
    failed(
        "429 that passes",
        error(429, "Rate limit reached for requests", "rate_limit_exceeded", Retry_After="0.01"),
        "is overloaded",
        429,
        3,
    ),
    failed("429 with a long wait", error(429, "slow down", Retry_After="90"), "in 90 seconds", 429),
    failed("429 with a wait in words", error(429, "Please try again in 12m."), "in 12 minutes", 429),
    failed(
        "429 with Google's wait",
        body(
            [
                {
                    "error": {
                        "code": 429,
                        "message": "You exceeded your current quota, billing",
                        "status": "RESOURCE_EXHAUSTED",
                        "details": [{"retryDelay": "7200s"}],
                    }
                }
            ],
            429,
        ),
        "in 2 hours",
        429,
    ),
    failed("429 with a wait that is none", error(429, "busy", Retry_After="soon"), "is overloaded", 429, 3),
    failed("503 with a long wait", error(503, "overloaded", Retry_After="120"), "in 2 minutes", 429),
    failed(
        "404 for the model",
        error(404, "The model `m` does not exist", "model_not_found"),
        "OPENAI_MODEL",
        503,
    ),
    failed("400 for the model", error(400, "m is not a valid model ID"), "OPENAI_MODEL", 503),
    failed(
        "Azure's deployment",
        error(404, "The API deployment for this resource does not exist.", "DeploymentNotFound"),
        "OPENAI_MODEL",
        503,
    ),
    failed("404 with HTML", body(b"<html>404</html>", 404, "text/html"), "OPENAI_BASE_URL", 503),
    failed(
        "redirect",
        Wire(status=302, headers={"Location": "https://example.org/login"}),
        "OPENAI_BASE_URL",
        503,
    ),
    failed(
        "404 for tools", error(404, "No endpoints found that support tool use."), "cannot call tools", 503
    ),
    failed(
        "400 for tools",
        error(400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        "cannot call tools",
        503,
    ),
    failed(
        "400 for tools of vLLM",
        error(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        "cannot call tools",
        503,
    ),
    failed(
        "400 for pictures", error(400, "image input is not supported by this model"), "OPENAI_VISION", 503
    ),
    failed(
        "400 of Azure's filter",
        error(400, "The response was filtered", "content_filter"),
        "blocked this answer",
        502,
    ),
    failed(
        "400 of Qwen's filter",
        error(400, "Input data may contain inappropriate content.", "data_inspection_failed"),
        "blocked this answer",
        502,
    ),
    failed("400", error(400, "bad request"), "refused this request", 502),
    failed(
        "422 with a detail",
        body({"detail": [{"loc": ["body"], "msg": "field required"}]}, 422),
        "refused this request",
        502,
    ),
    failed("500", error(500, "oops", Retry_After="0.01"), SILENT, 502, 3),
    failed("502 with HTML", body(b"<html>Bad Gateway</html>", 502, "text/html"), SILENT, 502, 3),
    failed("504", error(504, "upstream timed out"), "too long to answer", 504, 2),
]

TOO_LONG = [
    failed(name, error(status, message, code), "too long for the model", 502, requests=1)
    for name, status, message, code in [
        (
            "OpenAI's context",
            400,
            "This model's maximum context length is 8192 tokens.",
            "context_length_exceeded",
        ),
        (
            "llama.cpp's context",
            400,
            "the request exceeds the available context size",
            "exceed_context_size_error",
        ),
        (
            "LM Studio's context",
            400,
            "Trying to keep the first 5000 tokens when context the overflows.",
            None,
        ),
        ("Gemini's context", 400, "The input token count exceeds the maximum number of tokens allowed", None),
        (
            "Groq's context",
            413,
            "Request too large for model `m` on tokens per minute",
            "rate_limit_exceeded",
        ),
        (
            "OpenAI's rate",
            429,
            "Request too large for m on tokens per min (TPM): Limit 10, Requested 20",
            None,
        ),
    ]
]

QUIRKS = [*ENDS, *FORMS, *THOUGHTS, *CALLS, *FAILURES, *TOO_LONG]
