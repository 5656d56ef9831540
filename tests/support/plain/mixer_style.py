"""MLP-Mixer: a function that returns nn.Sequential's and one class."""

from functools import partial

from torch import nn


class PreNormResidual(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn, self.norm = fn, nn.LayerNorm(dim)

    def forward(self, x):
        return self.fn(self.norm(x)) + x


def FeedForward(dim, expansion_factor=4, dropout=0.0, dense=nn.Linear):
    inner_dim = int(dim * expansion_factor)
    return nn.Sequential(dense(dim, inner_dim), nn.GELU(), nn.Dropout(dropout), dense(inner_dim, dim), nn.Dropout(dropout))


class MLPMixer(nn.Module):
    def __init__(self, image_size=256, channels=3, patch_size=16, dim=512, depth=12, num_classes=1000):
        super().__init__()
        assert (image_size % patch_size) == 0, "image must be divisible by patch size"
        num_patches = (image_size // patch_size) ** 2
        chan_first, chan_last = partial(nn.Conv1d, kernel_size=1), nn.Linear
        self.embed = nn.Conv2d(channels, dim, patch_size, patch_size)
        self.blocks = nn.Sequential(
            *[
                nn.Sequential(
                    PreNormResidual(dim, FeedForward(num_patches, 4, 0.0, chan_first)),
                    PreNormResidual(dim, FeedForward(dim, 0.5, 0.0, chan_last)),
                )
                for _ in range(depth)
            ]
        )
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(dim=1))
