"""Writes the Parquet files that util/parquet.test.ts and task/dataset.test.ts read, with pyarrow, as data sets are published.

    python make_parquet_golden.py        (pyarrow 25.0.1)
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).parent / "golden"

messages = [
    [
        {"role": "system", "content": "请用中文回答。"},
        {"role": "user", "content": f"{i}+1?"},
        {"role": "assistant", "content": f"<think>{i}+1={i + 1}</think><answer>{i + 1}</answer>"},
    ]
    for i in range(5)
]
turn = pa.struct([("role", pa.string()), ("content", pa.string())])
table = pa.table({"messages": pa.array(messages, pa.list_(turn)), "source": ["made"] * 5})
pq.write_table(table, OUT / "messages-snappy.parquet", compression="snappy")

pairs = {"id": list(range(7)), "prompt": [f"{i}加{i}？" for i in range(7)], "response": [str(2 * i) for i in range(7)]}
for compression in ("gzip", "brotli", "zstd"):
    pq.write_table(pa.table(pairs), OUT / f"pairs-{compression}.parquet", compression=compression, row_group_size=3)

pairs["response"][4] = None
pq.write_table(pa.table(pairs), OUT / "pairs-null.parquet", compression="none")

# GSM8K's shape and MATH's in one table, as data sets are published that were put together from several.
problems = {
    "question": [f"{i} apples and {i} more?" for i in range(30)] + [None, None],
    "answer": [f"{i}+{i}=<<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}" for i in range(30)] + [None, "x^2"],
    "problem": [None] * 30 + ["What is one half?", "What is the square of x?"],
    "solution": [None] * 30 + [r"It is \boxed{\frac{1}{2}}.", None],
    "split": ["train"] * 32,
}
pq.write_table(pa.table(problems), OUT / "problems.parquet", compression="snappy", row_group_size=10)
