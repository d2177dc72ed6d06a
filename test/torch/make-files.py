"""Writes the PyTorch files of the tests into a directory, and beside each a safetensors file with the
same tensors, row-major: python3 make-files.py DIRECTORY. Needs PyTorch 1.13 or newer, nothing else."""

import json
import struct
import sys
from collections import OrderedDict
from pathlib import Path

import torch

out = Path(sys.argv[1])
torch.manual_seed(1)

TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def bytes_of(tensor):
    flat = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""


def expect(name, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for key, tensor in tensors.items():
        part = bytes_of(tensor)
        header[key] = {
            "dtype": TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(part)],
        }
        data += part
    text = json.dumps(header).encode()
    (out / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def save(name, content, tensors):
    torch.save(content, out / f"{name}.pt")
    expect(name, tensors)


# Every type, odd bits included, a number and nothing at all.
special = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-40, 6e-8, 65504.0, 1 / 3]
types = {str(dtype).removeprefix("torch."): torch.randn(3, 5).to(dtype) for dtype in TYPES}
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    types[f"special.{dtype}"] = torch.tensor(special).to(dtype)
types["number"] = torch.tensor(2.5)
types["empty"] = torch.empty(0, 4)
types["payload"] = torch.tensor([0x7FC12345, -1, 1], dtype=torch.int32).view(torch.float32)
save("types", types, types)

# Views of one storage, in every order.
base = torch.arange(4 * 6, dtype=torch.float32).reshape(4, 6)
cube = torch.arange(2 * 3 * 4).to(torch.bfloat16).reshape(2, 3, 4)
views = OrderedDict(
    whole=base,
    again=base,
    transposed=base.t(),
    rows=base[1:3],
    columns=base[:, 2:5],
    steps=base[::2, 1::3],
    column=base[:, 3],
    permuted=cube.permute(2, 0, 1),
    slab=cube[:, 1],
    one=base[2:3, 4:5].t(),
    parameter=torch.nn.Parameter(base[:2]),
)
save("views", views, views)



# The state that CoreNet keeps of a training, with a model whose vocabulary it has padded.
class Attention(torch.nn.Module):
    def __init__(self, dim, head_dim, num_query_heads, num_kv_heads):
        super().__init__()
        rows = (num_query_heads + 2 * num_kv_heads) * head_dim
        self.qkv_proj = torch.nn.Linear(dim, rows, bias=False)
        self.q_norm = Norm(head_dim)
        self.k_norm = Norm(head_dim)
        self.out_proj = torch.nn.Linear(num_query_heads * head_dim, dim, bias=False)


class FeedForward(torch.nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.proj_1 = torch.nn.Linear(dim, 2 * width, bias=False)
        self.proj_2 = torch.nn.Linear(width, dim, bias=False)


class Norm(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(dim))


class Layer(torch.nn.Module):
    def __init__(self, dim, head_dim, num_query_heads, num_kv_heads, width):
        super().__init__()
        self.attn = Attention(dim, head_dim, num_query_heads, num_kv_heads)
        self.ffn = FeedForward(dim, width)
        self.ffn_norm = Norm(dim)
        self.attn_norm = Norm(dim)


class Model(torch.nn.Module):
    """The shape of tiny.json."""

    def __init__(self):
        super().__init__()
        self.token_embeddings = torch.nn.Embedding(16, 8)
        self.layers = torch.nn.ModuleList([Layer(8, 2, 2, 1, 4), Layer(8, 2, 4, 2, 8)])
        self.norm = Norm(8)


def training_state(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "iterations": 350_000,
        "epoch": 0,
        "model_state_dict": model.state_dict(),
        "optim_state_dict": optimizer.state_dict(),
        "best_metric": torch.tensor(float("inf")),
        "is_interval_ckpt": True,
        "gradient_scaler_state_dict": {},
        "ema_state_dict": Norm(3).state_dict(),
        "rng": torch.get_rng_state()[:8],
        "seed": torch.initial_seed() + 2**63,
        "shape": torch.Size([1, 2]),
        "rest": [None, -1, 70_000, -(2**40), 2**100, 0.1, "\u00e9\u4e2d", (), (1, 2, 3, 4), [[]]],
    }


model = Model()
save("training", training_state(model), model.state_dict())
half = Model().to(torch.bfloat16)
save("bfloat16", half.state_dict(), half.state_dict())
mixed = Model().to(torch.float16)
for module in mixed.modules():
    if isinstance(module, Norm):
        module.float()
save("mixed", {"state_dict": mixed.state_dict()}, mixed.state_dict())

# Other formats of torch.save.
torch.save(model.state_dict(), out / "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(model.state_dict(), out / "protocol-4.pt", pickle_protocol=4)
torch.jit.script(torch.nn.Linear(2, 2)).save(str(out / "script.pt"))
