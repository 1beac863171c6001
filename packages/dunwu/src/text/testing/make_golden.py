"""Makes golden/<digits>.json with Hugging Face's tokenizers (pip install tokenizers==0.23.2): for each way to cut
numbers, the tokenizer.json that its trainer gives for golden/inputs.json, and what it encodes and decodes with it.
The tests compare ours with these files and need no Python.

    python3 packages/dunwu/src/text/testing/make_golden.py
"""

import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

golden = Path(__file__).parent / "golden"
inputs = json.loads((golden / "inputs.json").read_text("utf8"))

WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
DIGITS = {"single": r"\p{N}", "up-to-3": r"\p{N}{1,3}", "free": r"\p{N}+"}

for digits, pattern in DIGITS.items():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), behavior="isolated") for p in (pattern, "[一-龥぀-ゟ゠-ヿ]+", WORDS)]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=inputs["vocab_size"],
        min_frequency=inputs["min_frequency"],
        special_tokens=[AddedToken(t, special=True, normalized=False) for t in inputs["special_tokens"]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(inputs["corpus"], trainer)
    # The same vocabulary without added tokens: what text means when special tokens are not recognised.
    plain = json.loads(tokenizer.to_str())
    plain["added_tokens"] = []
    untrusting = Tokenizer.from_str(json.dumps(plain))
    cases = []
    for text in inputs["strings"]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cut = ids[1:-1]
        cases.append(
            {
                "text": text,
                "special": ids,
                "plain": untrusting.encode(text, add_special_tokens=False).ids,
                "cut": tokenizer.decode(cut, skip_special_tokens=False),
                "cut_skipped": tokenizer.decode(cut, skip_special_tokens=True),
            }
        )
    out = {"made_by": f"tokenizers {tokenizers.__version__}", "tokenizer": json.loads(tokenizer.to_str()), "cases": cases}
    (golden / f"{digits}.json").write_text(json.dumps(out, ensure_ascii=False) + "\n", "utf8")
    print(digits, tokenizer.get_vocab_size(), "tokens,", len(cases), "strings")
