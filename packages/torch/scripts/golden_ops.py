"""Freezes what PyTorch itself computes, for the tests of @dunwu/torch. Run where torch and safetensors are installed:

    python packages/torch/scripts/golden_ops.py

Writes packages/torch/src/testing/golden/{ops.json,optim.json,reference.safetensors}. Every case names the operator, the
TypeScript method or function (`js`), and its arguments; tensors are {"t": dtype, "s": shape, "v": values}, and NaN and
the infinities are strings.
"""

import json
import math
import os
import re

import torch

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "src", "testing", "golden")
GENERATED = os.path.join(os.path.dirname(__file__), "..", "src", "generated")
f32, f64, i64, b8 = torch.float32, torch.float64, torch.int64, torch.bool


def number(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def encode(value):
    if isinstance(value, torch.Tensor):
        values = value.detach().double() if value.is_floating_point() else value.detach()
        return {"t": str(value.dtype).removeprefix("torch."), "s": list(value.shape), "v": [number(v) for v in values.flatten().tolist()]}
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.memory_format):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    return number(value)


def typed_names():
    """{operator: [(kind, js name)]} from the generated TypeScript."""
    found = {}
    for kind, file, pattern in (
        ("method", "methods.ts", r"^  (\w+)\(.*\{\n.*?lazy\(\d+, 'aten::([\w.]+)'\)"),
        ("function", "functions.ts", r"^export function (\w+)\(.*\{\n.*?lazy\(\d+, 'aten::([\w.]+)'\)"),
    ):
        with open(os.path.join(GENERATED, file)) as handle:
            for js, op in re.findall(pattern, handle.read(), re.M):
                found.setdefault(op, []).append({"kind": kind, "js": js})
    return found


TYPED = typed_names()
CASES = []
g = torch.Generator().manual_seed(20)


def rn(*shape, dtype=f32):
    return torch.randn(*shape, generator=g, dtype=f64).mul(8).round().div(8).to(dtype)  # exact in every dtype


def op(full, *args, **kwargs):
    name, _, overload = full.partition(".")
    function = getattr(getattr(torch.ops.aten, name), overload or "default")
    given = encode(args), {k: encode(v) for k, v in kwargs.items()}
    args = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
    result = function(*args, **kwargs)
    writes = function._schema.arguments and function._schema.arguments[0].alias_info is not None and function._schema.arguments[0].alias_info.is_write
    # Lists of tensors that were written to (foreach) are what is compared.
    expected = args[0] if writes else result
    CASES.append({"op": f"aten::{full}", "typed": TYPED.get(full, []), "args": given[0], "kwargs": given[1], "expected": encode(expected)})


def unary():
    x = rn(2, 3)
    positive = x.abs() + 0.25
    for name in "neg abs exp expm1 square sin cos tanh sigmoid relu silu gelu sign floor ceil round trunc erf".split():
        op(name, x)
    op("gelu", x, approximate="tanh")
    for name in "log log2 log1p sqrt rsqrt reciprocal".split():
        op(name, positive)
    for dtype in (f64, torch.bfloat16, torch.float16):
        op("exp", x.to(dtype))
        op("mul.Tensor", x.to(dtype), x.to(dtype))
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 2.5, -2.5])
    for name in "isnan isinf isfinite nan_to_num sign round neg abs".split():
        op(name, special)
    op("nan_to_num", special, 1.0, 2.0, -3.0)
    op("logical_not", torch.tensor([True, False]))
    op("t", x)


def binary():
    a, b, row = rn(2, 3), rn(2, 3) + 0.0625, rn(3)
    for name in "add.Tensor sub.Tensor mul.Tensor div.Tensor maximum minimum eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor".split():
        op(name, a, b)
        op(name, a, row)  # broadcast
    op("add.Tensor", a, b, alpha=2.5)
    op("sub.Tensor", a, row, alpha=-3)
    i, j = torch.tensor([7, -7, 5, 0]), torch.tensor([3, 3, -2, 4])
    for name in "add.Tensor sub.Tensor mul.Tensor div.Tensor remainder.Tensor fmod.Tensor floor_divide maximum bitwise_and.Tensor bitwise_or.Tensor".split():
        op(name, i, j)
    op("remainder.Tensor", a, b)
    op("fmod.Tensor", a, b)
    op("add.Tensor", i, a.flatten()[:4])  # int64 + float32
    op("add.Tensor", torch.tensor([1, 2], dtype=torch.int8), torch.tensor([300, 4]))
    op("mul.Tensor", torch.tensor([True, False]), torch.tensor([5, 6]))
    op("logical_and", torch.tensor([True, True, False]), torch.tensor([True, False, False]))
    op("logical_or", torch.tensor([True, True, False]), torch.tensor([True, False, False]))
    op("pow.Tensor_Scalar", a, 2)
    op("pow.Tensor_Scalar", a.abs() + 0.25, -0.5)
    op("pow.Tensor_Tensor", a.abs() + 0.25, b)
    op("clamp", a, -0.5, 0.5)
    op("clamp", a, None, 0.25)
    op("clamp_min", a, 0.125)
    op("clamp_max", a, 0.125)
    op("where.self", a.gt(0), a, b)


def reductions():
    x = rn(2, 3, 4)
    for dim in (None, [0], [-1], [0, 2], []):
        op("sum.dim_IntList", x, dim)
    op("sum.dim_IntList", x, [1], True)
    op("sum.dim_IntList", x.gt(0), [1])
    op("sum.dim_IntList", x, [1], False, dtype=f64)
    op("mean.dim", x, None)
    op("mean.dim", x, [1, 2], True)
    op("prod", x)
    op("prod", torch.tensor([2, 3, 4]))
    op("var.correction", x, [1])
    op("var.correction", x, [1], correction=0, keepdim=True)
    op("var.correction", x)
    op("std.correction", x, [2], correction=0)
    op("std.correction", x, [0, 1])
    op("amax", x, [1])
    op("amin", x)
    op("amax", x, [0, -1], True)
    for name in ("argmax", "argmin"):
        op(name, x)
        op(name, x, 1)
        op(name, x, -1, True)
    op("all", x.gt(-9))
    op("any", x.gt(9))
    op("max.dim", x, 1)
    op("min.dim", x, -1, True)
    op("median", x)
    op("cumsum", x, 1)
    op("cumsum", torch.tensor([True, True, False]), 0)
    op("cumsum", x, -1, dtype=f64)
    op("cumprod", x, 2)
    op("logsumexp", x, [1])
    op("logsumexp", x, [0, 2], True)
    op("linalg_vector_norm", x)
    op("linalg_vector_norm", x, 1, [1])
    op("linalg_vector_norm", x, float("inf"), [0, 1], True)
    distinct = torch.tensor([[3.0, -1.0, 2.0, 0.5], [0.25, 8.0, -3.0, 1.0]])
    op("topk", distinct, 2)
    op("topk", distinct, 1, 0, False)
    op("sort", distinct)
    op("sort", distinct, 0, True)
    op("argsort", distinct)
    op("argsort", distinct, 0, True)
    op("softmax.int", x, -1)
    op("softmax.int", x, 0, f64)
    op("log_softmax.int", x, 1)
    op("softmax.int", torch.tensor([[float("-inf"), 0.0, 0.0], [1000.0, 1000.0, -1000.0]]), 1)


def products():
    a, b, v = rn(3, 4), rn(4, 2), rn(4)
    op("matmul", a, b)
    op("matmul", v, v)
    op("matmul", a, v)
    op("matmul", rn(2, 1, 3, 4), rn(5, 4, 2))
    op("mm", a, b)
    op("bmm", rn(2, 3, 4), rn(2, 4, 2))
    op("mv", a, v)
    op("dot", v, v)
    op("addmm", rn(3, 2), a, b)
    op("addmm", rn(3, 2), a, b, beta=0.5, alpha=2)
    op("baddbmm", rn(2, 3, 2), rn(2, 3, 4), rn(2, 4, 2), beta=0.5)
    op("linear", a, rn(2, 4))
    op("linear", rn(2, 3, 4), rn(2, 4), rn(2))
    op("outer", v, rn(2))
    op("einsum", "bij,bjk->bik", [rn(2, 3, 4), rn(2, 4, 2)])
    op("einsum", "ij,kj->ik", [a, rn(2, 4)])
    op("einsum", "ii->i", [rn(3, 3)])
    op("matmul", a.to(torch.bfloat16), b.to(torch.bfloat16))
    op("matmul", a.to(f64), b.to(f64))
    op("matmul", torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]]))
    op("block_diag", [rn(1, 2), rn(2, 1)])
    q, k, w = rn(1, 2, 3, 4), rn(1, 2, 5, 4), rn(1, 2, 5, 4)
    op("scaled_dot_product_attention", q, k, w)
    op("scaled_dot_product_attention", q, q, q, None, 0.0, True)
    op("scaled_dot_product_attention", q, k, w, rn(3, 5), scale=0.5)
    op("scaled_dot_product_attention", rn(1, 4, 3, 4), rn(1, 2, 3, 4), rn(1, 2, 3, 4), enable_gqa=True)


def shapes():
    x = rn(2, 3, 4)
    m = rn(3, 4)
    op("transpose.int", x, 0, -1)
    op("permute", x, [2, 0, 1])
    op("reshape", x, [4, -1])
    op("view", x, [6, 4])
    op("expand", rn(3, 1), [2, 3, 4])
    op("contiguous", m)
    op("unsqueeze", m, 1)
    op("squeeze.dim", rn(2, 1, 3), 1)
    op("flatten.using_ints", x, 1)
    op("flatten.using_ints", x)
    op("narrow", x, 2, 1, 2)
    op("slice.Tensor", x, 1, 1)
    op("slice.Tensor", x, -1, None, None, 2)
    op("slice.Tensor", x, 0, -1, 100)
    op("select.int", x, 1, -1)
    op("split.Tensor", m, 2)
    op("split.Tensor", x, 3, 2)
    op("split_with_sizes", m, [1, 3], 1)
    op("chunk", m, 2)
    op("unbind.int", m)
    op("movedim.int", x, 0, 2)
    op("flip", x, [0, 2])
    op("roll", m, [1], [0])
    op("roll", m, [1, -1], [0, 1])
    op("roll", m, [2])
    op("unfold", m, 1, 2, 2)
    op("tril", m)
    op("tril", m, -1)
    op("triu", m, 1)
    op("diagonal", m)
    op("diagonal", x, 1, 1, 2)
    op("repeat", m, [2, 1])
    op("repeat_interleave.self_int", m, 2, 0)
    op("repeat_interleave.self_int", m, 2)
    op("repeat_interleave.self_Tensor", m, torch.tensor([2, 0, 1]), 0)
    op("cat", [m, rn(1, 4)])
    op("cat", [m, rn(3, 2)], 1)
    op("stack", [m, m.neg()], -1)
    op("as_strided", torch.arange(8, dtype=f32), [2, 2], [3, 1], 1)
    op("constant_pad_nd", m, [1, 0, 0, 2], -1)
    op("constant_pad_nd", m, [-1, 2])
    op("detach", m)
    op("clone", m)
    op("view.dtype", m, torch.int32)


def indexing():
    m = rn(3, 4)
    columns = torch.tensor([[0, 3], [1, 1], [2, 0]])
    op("gather", m, 1, columns)
    op("scatter.src", m, 1, torch.tensor([[0], [1], [3]]), rn(3, 1))
    op("scatter.value", m, 1, columns, 9.5)
    op("scatter_add", m, 1, columns, rn(3, 2))
    op("index_select", m, 0, torch.tensor([2, 0, 2]))
    op("index_add", m, 0, torch.tensor([0, 0]), rn(2, 4))
    op("index_add", m, 0, torch.tensor([1, 2]), rn(2, 4), alpha=0.5)
    op("index.Tensor", m, [torch.tensor([2, 0])])
    op("index.Tensor", m, [None, torch.tensor([3, 3, 1])])
    op("index.Tensor", m, [torch.tensor([0, 2]), torch.tensor([1, 3])])
    op("index.Tensor", m, [m.gt(0)])
    op("index_put", m, [torch.tensor([0, 0])], rn(2, 4), True)
    op("index_put", m, [None, torch.tensor([1])], torch.tensor(7.0))
    op("masked_fill.Scalar", m, m.gt(0), -2)
    op("masked_fill.Scalar", m, m.gt(0), float("-inf"))
    op("masked_select", m, m.gt(0))
    op("masked_scatter", m, m.gt(0), rn(12))
    op("take_along_dim", m, columns, 1)
    op("nonzero", m.gt(0.5))
    op("bincount", torch.tensor([0, 2, 2, 5]))
    op("bincount", torch.tensor([0, 2, 2]), torch.tensor([0.5, 1.0, 2.0]), 4)
    op("unique_consecutive", torch.tensor([1, 1, 2, 2, 2, 1]), True, True)
    op("embedding", m, torch.tensor([[0, 2], [1, 1]]))
    op("one_hot", torch.tensor([0, 2, 1]))
    op("one_hot", torch.tensor([0, 2, 1]), 4)
    op("searchsorted.Tensor", torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 2.0, 5.0]))
    op("searchsorted.Tensor", torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 2.0, 5.0]), right=True, out_int32=True)
    op("searchsorted.Tensor", torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0]), side="right")


def losses():
    logits, target = rn(4, 5), torch.tensor([1, 0, -100, 4])
    op("cross_entropy_loss", logits, target)
    op("cross_entropy_loss", logits, target, None, 0)
    op("cross_entropy_loss", logits, target, rn(5).abs() + 0.5, 2, -100, 0.1)
    op("nll_loss", logits.log_softmax(1), torch.tensor([1, 0, 2, 4]))
    op("nll_loss", logits.log_softmax(1), target, None, 2)
    op("binary_cross_entropy_with_logits", rn(4), torch.tensor([0.0, 1.0, 1.0, 0.5]))
    op("binary_cross_entropy_with_logits", rn(4), torch.tensor([0.0, 1.0, 1.0, 0.5]), None, torch.tensor(2.0), 0)
    x = rn(2, 3, 4)
    op("layer_norm", x, [4])
    op("layer_norm", x, [3, 4], rn(3, 4), rn(3, 4), 1e-3)
    op("rms_norm", x, [4])
    op("rms_norm", x, [4], rn(4), 1e-6)
    op("dropout", x, 0.5, False)


def factories():
    op("zeros", [2, 2])
    op("zeros", [0, 3], dtype=i64)
    op("zeros", [], dtype=torch.bfloat16)
    op("ones", [3], dtype=b8, device=torch.device("cpu"))
    op("full", [2], 1.5)
    op("full", [2], 3, dtype=f64)
    op("arange.start_step", 0, 5)
    op("arange.start_step", 1, 2, 0.25)
    op("arange.start_step", 5, 0, -2, dtype=torch.int32)
    op("linspace", 0, 1, 5)
    op("eye", 3)
    x = rn(2, 2)
    op("zeros_like", x, dtype=i64)
    op("ones_like", x)
    op("full_like", x, 2.5)
    for dtype in (f64, torch.float16, torch.bfloat16, torch.int32, torch.int16, torch.int8, b8):
        op("to.dtype", x, dtype)
    op("to.dtype", torch.tensor([True, False]), f32)
    op("to.device", x, torch.device("cpu"), f64)
    op("to.other", x, torch.zeros(1, dtype=i64))


def in_place():
    a, b = rn(2, 3), rn(2, 3) + 0.0625
    op("zero_", a)
    op("fill_.Scalar", a, 2.5)
    op("copy_", a, rn(3))
    op("add_.Tensor", a, b)
    op("add_.Tensor", a, b, alpha=-2)
    op("sub_.Tensor", a, b)
    op("mul_.Tensor", a, b)
    op("div_.Tensor", a, b)
    op("clamp_", a, -0.5, 0.5)
    op("lerp_.Scalar", a, b, 0.25)
    op("addcmul_", a, b, b, value=0.5)
    op("addcdiv_", a, b, b.abs(), value=0.5)
    op("sqrt_", a.abs())
    op("sign_", a)
    op("neg_", a)
    op("exp_", a)
    i = torch.tensor([[0, 2], [1, 1]])
    op("scatter_.src", a, 1, torch.tensor([[0, 2], [1, 0]]), rn(2, 2))
    op("scatter_add_", a, 1, i, rn(2, 2))
    op("index_add_", a, 1, torch.tensor([2, 2]), rn(2, 2))
    op("index_copy_", a, 1, torch.tensor([2, 0]), rn(2, 2))
    op("index_put_", a, [torch.tensor([1]), torch.tensor([2])], torch.tensor([5.0]))
    op("masked_fill_.Scalar", a, a.gt(0), 1)
    op("_foreach_norm.Scalar", [a, b], 2)
    op("_foreach_mul_.Scalar", [a.clone(), b.clone()], 0.5)
    op("_foreach_mul_.Tensor", [a.clone(), b.clone()], torch.tensor(3.0))
    op("_foreach_add_.Scalar", [a.clone(), b.clone()], 1)
    op("_foreach_add_.List", [a.clone(), b.clone()], [b, a], alpha=2)
    op("_foreach_zero_", [a.clone(), b.clone()])
    op("_foreach_copy_", [a.clone(), b.clone()], [b, a])
    op("_foreach_lerp_.Scalar", [a.clone(), b.clone()], [b, a], 0.25)


def optimisers():
    """Trajectories of torch.optim on fixed gradients."""
    out = {}
    start = {"w": rn(3, 2), "b": rn(2)}
    grads = [{"w": rn(3, 2), "b": rn(2) if step != 1 else None} for step in range(4)]  # b has no gradient in step 1

    def run(make):
        params = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
        optimiser = make(params)
        trace = []
        for step, grad in enumerate(grads):
            for k, p in params.items():
                p.grad = None if grad[k] is None else grad[k].clone()
            optimiser.step()
            trace.append({k: encode(p) for k, p in params.items()})
        return trace

    out["start"] = {k: encode(v) for k, v in start.items()}
    out["gradients"] = [{k: encode(v) for k, v in grad.items()} for grad in grads]
    out["adamw"] = run(lambda p: torch.optim.AdamW([{"params": [p["w"]], "weight_decay": 0.1}, {"params": [p["b"]], "weight_decay": 0.0, "lr": 0.02}], lr=0.01, betas=(0.9, 0.95), eps=1e-8))
    out["adamw_default"] = run(lambda p: torch.optim.AdamW(list(p.values()), lr=1e-3))

    shapes = {"tall": rn(6, 3), "wide": rn(3, 5), "square": rn(4, 4)}
    matrices = {k: torch.nn.Parameter(v.clone()) for k, v in shapes.items()}
    muon = torch.optim.Muon(list(matrices.values()), lr=0.02, weight_decay=0.1)
    out["muon_start"] = {k: encode(v) for k, v in shapes.items()}
    out["muon_gradients"], out["muon"] = [], []
    for _ in range(3):
        for p in matrices.values():
            p.grad = rn(*p.shape)
        out["muon_gradients"].append({k: encode(p.grad) for k, p in matrices.items()})
        muon.step()
        out["muon"].append({k: encode(p) for k, p in matrices.items()})

    params = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))]
    for p in params:
        p.grad = rn(*p.shape)
    out["clip_gradients"] = [encode(p.grad) for p in params]
    out["clip_norm"] = float(torch.nn.utils.clip_grad_norm_(params, 1.0))
    out["clip_after"] = [encode(p.grad) for p in params]
    return out


def reference_file(path):
    from safetensors.torch import save_file

    tensors = {
        "model.norm.weight": torch.tensor([1.0, -2.5, 3.0]),
        "a": torch.tensor([[1.5, -0.0], [float("inf"), 2.0**-126]]),
        "f64": torch.tensor([1 / 3], dtype=f64),
        "bf16": torch.tensor(1.5, dtype=torch.bfloat16),
        "f16": torch.tensor([0.5, -65504.0], dtype=torch.float16),
        "i64": torch.tensor([[2**62, -(2**53) - 1]]),
        "i32": torch.tensor([-(2**31)], dtype=torch.int32),
        "i16": torch.tensor([-300], dtype=torch.int16),
        "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "u8": torch.arange(3, dtype=torch.uint8),
        "u16": torch.tensor([65535], dtype=torch.uint16),
        "u32": torch.tensor([2**32 - 1], dtype=torch.uint32),
        "u64": torch.tensor([2**63 + 5], dtype=torch.uint64),
        "bool": torch.tensor([[True, False]]),
        "empty": torch.zeros(0, 3),
        '层"\\\n': torch.tensor([7.0]),
    }
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    os.makedirs(GOLDEN, exist_ok=True)
    torch.use_deterministic_algorithms(True)
    for section in (unary, binary, reductions, products, shapes, indexing, losses, factories, in_place):
        section()
    def write(name, value):
        with open(os.path.join(GOLDEN, name), "w") as handle:
            json.dump(value, handle, separators=(",", ":"), ensure_ascii=False)
            handle.write("\n")
    write("ops.json", {"torch": torch.__version__, "cases": CASES})
    write("optim.json", {"torch": torch.__version__, **optimisers()})
    reference_file(os.path.join(GOLDEN, "reference.safetensors"))
    print(f"{len(CASES)} cases over {len({c['op'] for c in CASES})} operators")


main()
