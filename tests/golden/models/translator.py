"""Has PyTorch save a model, and what it computes: an encoder and a decoder of most of the layers that wattn::nn has.

    pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    python tests/golden/models/translator.py

writes beside this file
- translator.safetensors: the model's state_dict, float32, as PyTorch names it;
- translator_case.safetensors: `in.X` an input; `out.Y` an output; `dout.Y` its upstream gradient; `grad.P` the gradient of
  sum(dout.Y · out.Y), over all outputs, with respect to the parameter P. Computed in float64 from the float32 parameters, rounded to float32.

tests/golden/models.rs builds the same model of wattn's layers and compares. It has what is easily mistaken: layers and directions, norms
before and behind, two activations, a causal and a padded side, sequences of different lengths.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

PAD = 0
HEADS = 3


def recurrent(layer, x, lengths):
    """Outputs, 0 past a sequence's length, and the last states."""
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, last = layer(packed)
    return pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], last


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        block = {"nhead": HEADS, "dropout": 0.0, "batch_first": True}
        self.source_embedding = nn.Embedding(11, 7, padding_idx=PAD)
        self.target_embedding = nn.Embedding(9, 5, padding_idx=PAD)
        self.lstm = nn.LSTM(7, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(12, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(12)
        self.encoder = nn.TransformerEncoderLayer(12, dim_feedforward=10, activation="gelu", **block)
        self.gru = nn.GRU(5, 12, num_layers=2, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(12, dim_feedforward=14, activation="relu", norm_first=True, **block)
        self.output = nn.Linear(12, 9)

    def forward(self, source, source_lengths, target, target_lengths):
        hidden = source == PAD
        x, (hn, cn) = recurrent(self.lstm, self.source_embedding(source), source_lengths)
        seen, probs = self.attention(x, x, x, key_padding_mask=hidden, average_attn_weights=False)
        memory = self.encoder(self.norm(x + seen), src_key_padding_mask=hidden)
        y, states = recurrent(self.gru, self.target_embedding(target), target_lengths)
        later = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        decoded = self.decoder(y, memory, tgt_mask=later, memory_key_padding_mask=hidden)
        return {"hn": hn, "cn": cn, "probs": probs, "memory": memory, "states": states, "logits": self.output(decoded)}


def padded(lengths, ids):
    rows = [torch.randint(1, ids, (length,)) for length in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def main():
    torch.manual_seed(8)
    model = Translator()
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases of 0 and weights of 1 would not show where they go.
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    here = Path(__file__).parent
    save_file(model.state_dict(), here / "translator.safetensors", metadata={"format": "pt"})

    source_lengths, target_lengths = torch.tensor([4, 7, 2]), torch.tensor([5, 3, 6])
    source, target = padded(source_lengths, 11), padded(target_lengths, 9)
    model.double()
    outputs = model(source, source_lengths, target, target_lengths)
    upstream = {name: torch.randn(output.shape) for name, output in outputs.items()}
    sum((upstream[name] * output).sum() for name, output in outputs.items()).backward()

    inputs = {"source": source, "source_lengths": source_lengths, "target": target, "target_lengths": target_lengths}
    tensors = {f"in.{name}": tensor.int() for name, tensor in inputs.items()}
    tensors |= {f"out.{name}": output.detach().float().contiguous() for name, output in outputs.items()}
    tensors |= {f"dout.{name}": gradient for name, gradient in upstream.items()}
    tensors |= {f"grad.{name}": parameter.grad.float().contiguous() for name, parameter in model.named_parameters()}
    save_file(tensors, here / "translator_case.safetensors")


main()
