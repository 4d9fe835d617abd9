"""Stage `image_embed`: the reference picture through CLIP's image tower."""

from stages.image_embed.stage import ImageEmbed, ImageEmbedConfig

__all__ = ["ImageEmbed", "ImageEmbedConfig"]
