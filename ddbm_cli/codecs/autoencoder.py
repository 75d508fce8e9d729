"""Our own small autoencoder as a codec; a run of `ddbm train --task autoencoder` makes its weights."""

from ddbm_cli.codecs.codec import Codec, CodecConfig
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks import Autoencoder, AutoencoderConfig


class AutoencoderCodec(Autoencoder, Codec):
    """The autoencoder with the interface of codecs."""


@settings
class AutoencoderCodecConfig(AutoencoderConfig, CodecConfig):
    """The settings of the network `autoencoder`."""

    def create(self) -> AutoencoderCodec:
        return AutoencoderCodec(self)
