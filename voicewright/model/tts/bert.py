"""PL-BERT: ALBERT's encoder (one layer shared by all depths), with the state-dict keys of `transformers`.

Real dropouts are 0, as in every released PL-BERT. The pooler exists for the sake of the keys and is frozen.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import VoicewrightError
from voicewright.model.layers import length_mask, ragged

EPS = 1e-12


class Embeddings(nn.Module):
    def __init__(self, tokens: int, width: int, positions: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(tokens, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPS)
        for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B,T] -> [B,T,embedding]. Raises VoicewrightError for more tokens than there are places."""
        limit = self.position_embeddings.num_embeddings
        if tokens.shape[1] > limit:
            raise VoicewrightError(
                f"The text has {tokens.shape[1]} tokens with its pads, but this model reads at most {limit}; "
                "split it into sentences."
            )
        x = self.word_embeddings(tokens) + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x + self.position_embeddings.weight[: tokens.shape[1]])


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B,T,width], mask bool [B,1,1,T] (True is heard) or None -> [B,T,width]."""
        q, k, v = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.LayerNorm(x + self.dense(y.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(width, eps=EPS)
        self.attention = Attention(width, heads)
        self.ffn = nn.Linear(width, inner)
        self.ffn_output = nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B,T,width], mask as `Attention` -> [B,T,width]."""
        x = self.attention(x, mask)
        inner = F.gelu(self.ffn(x), approximate="tanh")
        return self.full_layer_layer_norm(self.ffn_output(inner) + x)


class Group(nn.Module):
    """ALBERT names its layers by groups; PL-BERT has one group of one layer."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList([Layer(width, heads, inner)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B,T,width], mask as `Attention` -> [B,T,width]."""
        for layer in self.albert_layers:
            x = layer(x, mask)
        return x


class Encoder(nn.Module):
    def __init__(self, embedding: int, width: int, heads: int, inner: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.embedding_hidden_mapping_in = nn.Linear(embedding, width)
        self.albert_layer_groups = nn.ModuleList([Group(width, heads, inner)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B,T,embedding], mask as `Attention` -> [B,T,width]."""
        x = self.embedding_hidden_mapping_in(x)
        for _ in range(self.depth):
            for group in self.albert_layer_groups:
                x = group(x, mask)
        return x


class Albert(nn.Module):
    """Contextual features of phoneme tokens: tokens int64 [B,T] -> [B,T,width]."""

    def __init__(
        self, tokens: int, embedding: int, width: int, heads: int, inner: int, depth: int, positions: int
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(tokens, embedding, positions)
        self.encoder = Encoder(embedding, width, heads, inner, depth)
        self.pooler = nn.Linear(width, width).requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Padding (positions at or past `lengths` [B]) is attended by nobody."""
        mask: Tensor | None = None
        if lengths is not None and ragged(lengths, tokens.shape[1]):
            mask = length_mask(lengths, tokens.shape[1], tokens.device)[:, None, None]
        out: Tensor = self.encoder(self.embeddings(tokens), mask)
        return out
