"""BERT around nn.TransformerEncoder, sizes as keyword defaults."""

import torch
from torch import nn


class BertEmbeddings(nn.Module):
    def __init__(self, vocab_size, hidden_size, max_len, type_vocab_size, dropout):
        super().__init__()
        self.word = nn.Embedding(vocab_size, hidden_size, padding_idx=0)
        self.position = nn.Embedding(max_len, hidden_size)
        self.token_type = nn.Embedding(type_vocab_size, hidden_size)
        self.norm, self.dropout = nn.LayerNorm(hidden_size), nn.Dropout(dropout)

    def forward(self, input_ids, token_type_ids):
        pos = torch.arange(input_ids.size(1), device=input_ids.device).expand_as(input_ids)
        return self.dropout(self.norm(self.word(input_ids) + self.position(pos) + self.token_type(token_type_ids)))


class BertForMaskedLM(nn.Module):
    def __init__(self, vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                 intermediate_size=3072, max_len=512, type_vocab_size=2, dropout=0.1):
        super().__init__()
        self.embeddings = BertEmbeddings(vocab_size, hidden_size, max_len, type_vocab_size, dropout)
        layer = nn.TransformerEncoderLayer(hidden_size, num_attention_heads, intermediate_size, dropout,
                                           activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_hidden_layers)
        self.mlm = nn.Linear(hidden_size, vocab_size)

    def forward(self, input_ids, token_type_ids, attention_mask, labels=None):
        x = self.embeddings(input_ids, token_type_ids)
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        logits = self.mlm(x)
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)
            return {"loss": loss, "logits": logits}
        return {"logits": logits}
