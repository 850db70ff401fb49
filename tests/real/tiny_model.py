"""Make a llama model of 0.6 MB that counts: after any prompt it says " t0 t1 t2 …", at any temperature.

A lost, doubled or reordered token shows in the text.  The transformer block adds nothing, so that the residual stream
is the last token's embedding; the output matrix maps the embedding of word k to word k+1, and that of anything else to
word 0.  The chat template is ChatML with a tool section (llama.cpp reads from it that tools are supported).
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[np.float32]

TEMPLATE = """\
{%- if tools %}<|im_start|>system
Tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
Call one with <tool_call>
{"name": NAME, "arguments": ARGUMENTS}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

#: What is no text, and what llama.cpp takes it for: the end of a turn, the parts of a text with a gap.
CONTROLS = {
    "<|im_start|>": None,
    "<|im_end|>": "eot",
    "<|fim_prefix|>": "fim_pre",
    "<|fim_suffix|>": "fim_suf",
    "<|fim_middle|>": "fim_mid",
}
#: Every byte, so that any prompt can be tokenized; printable ASCII on its own, so that grammars can write any JSON.
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CHARACTERS = ["▁", *map(chr, range(33, 127))]
END = 2
WIDTH = 64
HEADS = 4


def make(path: Path, *, words: int = 512, last: int | None = None, context: int = 32768) -> None:
    """Write the model; it ends its answer after word ``last``, or starts again after word ``words - 1``."""
    kinds = gguf.TokenType
    vocabulary = [
        ("<unk>", kinds.UNKNOWN),
        ("<s>", kinds.CONTROL),
        ("</s>", kinds.CONTROL),
        *((token, kinds.BYTE) for token in BYTES),
        *((token, kinds.CONTROL) for token in CONTROLS),
        *((token, kinds.NORMAL) for token in CHARACTERS),
    ]
    first = len(vocabulary)
    vocabulary += [(f"▁t{number}", kinds.NORMAL) for number in range(words)]
    embedding, output = counting(first, words, last)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("counting")
    writer.add_vocab_size(len(vocabulary))
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_scores([0.0] * len(vocabulary))
    writer.add_token_types([kind for _, kind in vocabulary])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    for token, use in CONTROLS.items():
        if use is not None:
            writer.add_uint32(f"tokenizer.ggml.{use}_token_id", [name for name, _ in vocabulary].index(token))
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in {"token_embd": embedding, "output": output, **silent_block()}.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def counting(first: int, words: int, last: int | None) -> tuple[Tensor, Tensor]:
    """Embedding and output matrix over a vocabulary whose words begin at id ``first``."""
    size = first + words
    embedding = np.random.default_rng(1).standard_normal((size, WIDTH)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    # what is no word shares one embedding, so that one row of the output serves it all
    embedding[:first] = embedding[0]
    following = {0: first, size - 1: first} | {token: token + 1 for token in range(first, size - 1)}
    if last is not None:
        following[first + last] = END
    output = np.zeros((size, WIDTH), np.float32)
    for token, successor in following.items():
        # sharp enough for temperature 1
        output[successor] += 8 * embedding[token]
    return embedding, output


def silent_block() -> dict[str, Tensor]:
    """One transformer block that adds nothing, and the norms."""
    square = {f"blk.0.{name}": (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    shapes = square | {
        "blk.0.ffn_gate": (2 * WIDTH, WIDTH),
        "blk.0.ffn_up": (2 * WIDTH, WIDTH),
        "blk.0.ffn_down": (WIDTH, 2 * WIDTH),
    }
    norms = {name: np.ones(WIDTH, np.float32) for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")}
    return norms | {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
