"""Models that others have published and Voicewright can fetch: where each file is, how large, with what hash.

Every hash was published by others than us: the models' own cards (Kokoro 1.0, 0.19), and several independent
projects that pin the same files. Nothing here is guessed: what has no known hash is not in the table, and a
file of unknown revision is fetched only when the user accepts the hash that it turned out to have.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

CONFIG_BYTES = 64 * 1024


@dataclass(frozen=True)
class PublishedFile:
    """One file: its path in the repository, its name in our folder, its size (or the most it may have)."""

    path: str
    name: str
    bytes: int | None
    sha256: str | None
    most: int = 0

    @property
    def limit(self) -> int:
        """The most bytes that may arrive for it."""
        return self.bytes or self.most


def digest(path: Path) -> str:
    """A file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Published:
    """A model of a Hugging Face repository at one revision."""

    name: str
    repository: str
    revision: str
    licence: str
    about: str
    files: tuple[PublishedFile, ...]
    voice: str = ""
    language: str = "en-us"
    kind: str = "speech"
    """`speech` for a model that speaks; `part` for a network that voice conversion needs."""
    also: tuple[str, ...] = ()
    """Where Hugging Face's cache may have such weights too: repository:path."""

    @property
    def weights(self) -> PublishedFile:
        return self.files[0]

    @property
    def pinned(self) -> bool:
        """Whether revision and every hash are known."""
        return len(self.revision) == 40 and all(file.sha256 for file in self.files)


_KOKORO_VOICES = """
af_alloy 6d877149dd8b348fbad12e5845b7e43d975390e9f3b68a811d1d86168bef5aa3
af_aoede c03bd1a4c3716c2d8eaa3d50022f62d5c31cfbd6e15933a00b17fefe13841cc4
af_bella 8cb64e02fcc8de0327a8e13817e49c76c945ecf0052ceac97d3081480e8e48d6
af_heart 0ab5709b8ffab19bfd849cd11d98f75b60af7733253ad0d67b12382a102cb4ff
af_jessica cdfdccb8cc975aa34ee6b89642963b0064237675de0e41a30ae64cc958dd4e87
af_kore 8bfbc512321c3db49dff984ac675fa5ac7eaed5a96cc31104d3a9080e179d69d
af_nicole c5561808bcf5250fe8c5f5de32caf2d94f27e57e95befdb098c5c85991d4c5da
af_nova e0233676ddc21908c37a1f102f6b88a59e4e5c1bd764983616eb9eda629dbcd2
af_river e149459bd9c084416b74756b9bd3418256a8b839088abb07d463730c369dab8f
af_sarah 49bd364ea3be9eb3e9685e8f9a15448c4883112a7c0ff7ab139fa4088b08cef9
af_sky c799548aed06e0cb0d655a85a01b48e7f10484d71663f9a3045a5b9362e8512c
am_adam ced7e284aba12472891be1da3ab34db84cc05cc02b5889535796dbf2d8b0cb34
am_echo 8bcfdc852bc985fb45c396c561e571ffb9183930071f962f1b50df5c97b161e8
am_eric ada66f0eefff34ec921b1d7474d7ac8bec00cd863c170f1c534916e9b8212aae
am_fenrir 98e507eca1db08230ae3b6232d59c10aec9630022d19accac4f5d12fcec3c37a
am_liam c82550757ddb31308b97f30040dda8c2d609a9e2de6135848d0a948368138518
am_michael 9a443b79a4b22489a5b0ab7c651a0bcd1a30bef675c28333f06971abbd47bd37
am_onyx e8452be16cd0f6da7b4579eaf7b1e4506e92524882053d86d72b96b9a7fed584
am_puck dd1d8973f4ce4b7d8ae407c77a435f485dabc052081b80ea75c4f30b84f36223
am_santa 7f2f7582fa2b1f160e90aafe6d0b442a685e773608b6667e545d743b073e97a7
bf_alice d292651b6af6c0d81705c2580dcb4463fccc0ff7b8d618a471dbb4e45655b3f3
bf_emma d0a423deabf4a52b4f49318c51742c54e21bb89bbbe9a12141e7758ddb5da701
bf_isabella cdd4c37003805104d1d08fb1e05855c8fb2c68de24ca6e71f264a30aaa59eefd
bf_lily 6e09c2e481e2d53004d7e5ae7d3a325369e130a6f45c35a6002de75084be9285
bm_daniel fc3fce4e9c12ed4dbc8fa9680cfe51ee190a96444ce7c3ad647549a30823fc5d
bm_fable d44935f3135257a9064df99f007fc1342ff1aa767552b4a4fa4c3b2e6e59079c
bm_george f1bc812213dc59774769e5c80004b13eeb79bd78130b11b2d7f934542dab811b
bm_lewis b5204750dcba01029d2ac9cec17aec3b20a6d64073c579d694a23cb40effbd0e
ef_dora d9d69b0f8a2b87a345f269d89639f89dfbd1a6c9da0c498ae36dd34afcf35530
em_alex 5eac53f767c3f31a081918ba531969aea850bed18fe56419b804d642c6973431
em_santa aa8620cb96cec705823efca0d956a63e158e09ad41aca934d354b7f0778f63cb
ff_siwis 8073bf2d2c4b9543a90f2f0fd2144de4ed157e2d4b79ddeb0d5123066171fbc9
hf_alpha 06906fe05746d13a79c5c01e21fd7233b05027221a933c9ada650f5aafc8f044
hf_beta 63c0a1a6272e98d43f4511bba40e30dd9c8ceaf5f39af869509b9f51a71c503e
hm_omega b55f02a8e8483fffe0afa566e7d22ed8013acf47ad4f6bbee2795a840155703e
hm_psi 2f0f055cea4f1083f4ef127ece48d71606347f6557dbb961c0ca5740a2da485b
if_sara 6c0b253b955fe32f1a1a86006aebe83d050ea95afd0e7be15182f087deedbf55
im_nicola 234ed06648649f9bd874b37508ea17560b9c993ef85b4ddb3e3a71e062bd2c12
jf_alpha 1bf4c9dc69e45ee46183b071f4db766349aac5592acbcfeaf051018048a5d787
jf_gongitsune 1b171917f18f351e65f2bf9657700cd6bfec4e65589c297525b9cf3c20105770
jf_nezumi d83f007a7f01783b77014561a7d493d327a0210e143440e91c9b697590d27661
jf_tebukuro 0d6917904438aec85f73a6fa1f7ac2be6481aae47c697834936930a91796c576
jm_kumo 98340afd68b1cee84fe0cd95528cfa6d4b39e416aa75a9df64049d52c8b55896
pf_dora 07e4ff987c5d5a8c3995efd15cc4f0db7c4c15e881b198d8ab7f67ecf51f5eb7
pm_alex cf0ba8c573c2480fc54123683a35cf1e2ae130428e441eb91f9149bdb188a526
pm_santa d42103169c5c872abbafb9129133af7e942bb9d272c3cc3b95c203e7d7198c29
zf_xiaobei 9b76be63dab4f4f96962030acc0126a9aee9728608fbbe115e2b58a2bd504df6
zf_xiaoni 95b49f169bf1640f4f43c25e13daa39f7b98d15d00823e83ef5c14b3ced59e49
zf_xiaoxiao cfaf6f2ded1ee56f1ff94fcd2b0e6cdf32e5b794bdc05b44e7439d44aef5887c
zf_xiaoyi b5235dbaeef85a4c613bf78af9a88ff63c25bac5f26ba77e36186d8b7ebf05e2
zm_yunjian 76cbf8bad35901d011d9628a2fdceb7b4f1f127e7a3269cb393b3941eb7fc417
zm_yunxi dbe6e1ce7c3dbaf2f5667432947b638b1c6831ccbe154c4610dbcc44f431e27b
zm_yunxia bb2b03b08e84d64e1214440ce3b624987fac177f2eeb5bab8571799a3d980acd
zm_yunyang 5238ac22e0c7f8b6cdd2eddd6e444b8a700b73c4674d9a047d59a94ff96379a2
"""


def _voices(table: str, most: int = 600_000) -> tuple[PublishedFile, ...]:
    """Voicepacks of a table `name hash`; each has about 523 kB."""
    rows = (line.split() for line in table.split("\n") if line)
    return tuple(
        PublishedFile(f"voices/{name}.pt", f"voices/{name}.pt", None, digest, most) for name, digest in rows
    )


KOKORO_10 = Published(
    name="kokoro-v1.0",
    repository="hexgrad/Kokoro-82M",
    revision="f3ff3571791e39611d31c381e3a41a3af07b4987",
    licence="Apache-2.0",
    about="8 languages, 54 voices",
    files=(
        PublishedFile(
            "kokoro-v1_0.pth",
            "kokoro-v1_0.pth",
            327_212_226,
            "496dba118d1a58f5f3db2efc88dbdc216e0483fc89fe6e47ee1f2c53f18ad1e4",
        ),
        PublishedFile(
            "config.json",
            "config.json",
            2_351,
            "5abb01e2403b072bf03d04fde160443e209d7a0dad49a423be15196b9b43c17f",
        ),
        *_voices(_KOKORO_VOICES),
    ),
    voice="af_heart",
)

KOKORO_INT8_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
"""Of Kokoro 1.0 as kokoro-onnx's users have it: exported, its weights rounded to int8."""

KOKORO_11_ZH = Published(
    name="kokoro-v1.1-zh",
    repository="hexgrad/Kokoro-82M-v1.1-zh",
    revision="01e7505bd6a7a2ac4975463114c3a7650a9f7218",
    licence="Apache-2.0",
    about="Chinese and English; two of its 103 voices, those whose hashes are known",
    files=(
        PublishedFile(
            "kokoro-v1_1-zh.pth",
            "kokoro-v1_1-zh.pth",
            None,
            "b1d8410fa44dfb5c15471fd6c4225ea6b4e9ac7fa03c98e8bea47a9928476e2b",
            400_000_000,
        ),
        PublishedFile(
            "config.json",
            "config.json",
            3_228,
            "bc333efa5ce4ceff433c8c8e5d027a1eca0166001e4e4a62bea2d26ff7a46890",
        ),
        *_voices(
            "zf_001 9bdc9a87e13e9bb1ea3e7803259c2ecbfebaeeb2ff80b5d0c76df1a464c1c962\n"
            "zm_010 d2eeba86192eee269f600ca6821038034abd017532a1fe68ff7b0e86c2983b2a"
        ),
    ),
    voice="zf_001",
    language="zh",
)

KOKORO_019 = Published(
    name="kokoro-v0.19",
    repository="hexgrad/kLegacy",
    revision="main",
    licence="Apache-2.0",
    about="the first Kokoro, English, without voices",
    files=(
        PublishedFile(
            "v0.19/kokoro-v0_19.pth",
            "kokoro-v0_19.pth",
            None,
            "3b0c392f87508da38fad3a2f9d94c359f1b657ebd2ef79f9d56d69503e470b0a",
            400_000_000,
        ),
    ),
)

KOKORO_MLX = Published(
    name="kokoro-v1.0-mlx",
    repository="mlx-community/Kokoro-82M-bf16",
    revision="a71e4d38b236d968966a2002c4c895dbd12b1c3c",
    licence="Apache-2.0",
    about="Kokoro 1.0 as MLX's safetensors, with one voice",
    files=(
        PublishedFile(
            "kokoro-v1_0.safetensors",
            "kokoro-v1_0.safetensors",
            327_115_152,
            "4e9ecdf03b8b6cf906070390237feda473dc13327cb8d56a43deaa374c02acd8",
        ),
        PublishedFile(
            "config.json",
            "config.json",
            2_351,
            "5abb01e2403b072bf03d04fde160443e209d7a0dad49a423be15196b9b43c17f",
        ),
        PublishedFile(
            "voices/af_heart.safetensors",
            "voices/af_heart.safetensors",
            522_320,
            "2c1c733b0e6576c810e268d3e440c21dea4e0f0131a3ba4cfc98d7fe6136d094",
        ),
    ),
    voice="af_heart",
)

STYLETTS2_LIBRITTS = Published(
    name="styletts2-libritts",
    repository="yl4579/StyleTTS2-LibriTTS",
    revision="3aa7ba7f8f275ec13dce21682a61494c35089e2a",
    licence="its own: say that speech is synthetic; clone no voice without consent",
    about="StyleTTS 2 with the HiFi-GAN decoder; voices come from recordings through its style encoders",
    files=(
        PublishedFile(
            "Models/LibriTTS/epochs_2nd_00020.pth",
            "epochs_2nd_00020.pth",
            771_390_526,
            "1164ffe19a17449d2c722234cecaf2836b35a698fb8ffd42562d2663657dca0a",
        ),
        PublishedFile(
            "Models/LibriTTS/config.yml",
            "config.yml",
            1_859,
            "0bbe2ea77a05b1f10d11144c68c1148a56d50d49b3b3660a1e8ffbef2041310e",
        ),
    ),
)

STYLETTS2_LJSPEECH = Published(
    name="styletts2-ljspeech",
    repository="yl4579/StyleTTS2-LJSpeech",
    revision="main",
    licence="its own: say that speech is synthetic; clone no voice without consent",
    about="StyleTTS 2 with the iSTFTNet decoder; no hash is known, so it wants --accept-hash",
    files=(
        PublishedFile(
            "Models/LJSpeech/epoch_2nd_00100.pth", "epoch_2nd_00100.pth", None, None, 2_500_000_000
        ),
        PublishedFile("Models/LJSpeech/config.yml", "config.yml", None, None, CONFIG_BYTES),
    ),
)

_RVC = (
    "lj1995/VoiceConversionWebUI",
    "e6d0c1a17da07c33557852f9dfa2bd44cc75737d",
    "MIT, by the repository's tag",
)

CONTENTVEC = Published(
    "contentvec",
    *_RVC,
    about="what is said without who says it: ContentVec, which voices of RVC hear with",
    files=(
        PublishedFile(
            "hubert_base/pytorch_model.bin",
            "pytorch_model.bin",
            189_206_711,
            "cc8c20f4b90a520757260197a3ff2505705a7adbd20ad9eeaa4e1a9b38442ef5",
        ),
        PublishedFile(
            "hubert_base/config.json",
            "config.json",
            1_492,
            "0346950779dfb7f9316fa74ed846e2b8a22a08eedfdc5387b73f327cb1a4a7cf",
        ),
    ),
    kind="part",
    also=(
        "lj1995/VoiceConversionWebUI:hubert_base.pt",
        "IAHispano/Applio:Resources/embedders/contentvec/pytorch_model.bin",
        "lengyue233/content-vec-best:pytorch_model.bin",
        "lengyue233/content-vec-best:model.safetensors",
    ),
)

RMVPE = Published(
    "rmvpe",
    *_RVC,
    about="RMVPE, a pitch estimator for voices over music",
    files=(
        PublishedFile(
            "rmvpe.pt",
            "rmvpe.pt",
            181_184_272,
            "6d62215f4306e3ca278246188607209f09af3dc77ed4232efdd069798c4ec193",
        ),
    ),
    kind="part",
    also=("IAHispano/Applio:Resources/predictors/rmvpe.pt",),
)


def _embedder(name: str, folder: str, about: str, also: tuple[str, ...] = ()) -> Published:
    """One of Applio's content models, of which neither revision nor hashes are known."""
    files = (("pytorch_model.bin", 500_000_000), ("config.json", CONFIG_BYTES))
    return Published(
        name,
        "IAHispano/Applio",
        "main",
        "not known for this copy",
        f"{about}, for voices trained with it; no hash is known, so it wants --accept-hash",
        tuple(
            PublishedFile(f"Resources/embedders/{folder}/{file}", file, None, None, most)
            for file, most in files
        ),
        kind="part",
        also=also,
    )


_EMBEDDERS = (
    _embedder("spin", "spin", "the content model SPIN"),
    _embedder("spin-v2", "spin-v2", "the content model SPIN 2"),
    _embedder(
        "chinese-hubert-base",
        "chinese_hubert_base",
        "Chinese HuBERT",
        ("TencentGameMate/chinese-hubert-base:pytorch_model.bin",),
    ),
    _embedder(
        "japanese-hubert-base",
        "japanese_hubert_base",
        "Japanese HuBERT",
        ("rinna/japanese-hubert-base:pytorch_model.bin", "rinna/japanese-hubert-base:model.safetensors"),
    ),
    _embedder(
        "korean-hubert-base",
        "korean_hubert_base",
        "Korean HuBERT",
        (
            "team-lucid/hubert-base-korean:pytorch_model.bin",
            "team-lucid/hubert-base-korean:model.safetensors",
        ),
    ),
)

_PRETRAINED = """
v1 D32k 2ab20645829460fdad0d3c44254f1ab53c32cae50c22a66c926ae5aa30abda6f
v1 D40k 547f66dbbcd9023b9051ed244d12ab043ba8a4e854b154cc28761ac7c002909b
v1 D48k 8cc013fa60ed9c3f902f5bd99f48c7e3b9352d763d4d3cd6bc241c37b0bfd9ad
v1 G32k 81817645cde7ed2e2d83f23ef883f33dda564924b497e84d792743912eca4c23
v1 G40k e428573bda1124b0ae0ae843fd8dcded6027d3993444790b3e9b0100938b2113
v1 G48k 3862a67ea6313e8ffefc05cee6bee656ef3e089442e9ecf4a6618d60721f3e95
v1 f0D32k 294db3087236e2c75260d6179056791c9231245daf5d0485545d9e54c4057c77
v1 f0D40k 7d4f5a441594b470d67579958b2fd4c6b992852ded28ff9e72eda67abcebe423
v1 f0D48k 1b84c8bf347ad1e539c842e8f2a4c36ecd9e7fb23c16041189e4877e9b07925c
v1 f0G32k 285f524bf48bb692c76ad7bd0bc654c12bd9e5edeb784dddf7f61a789a608574
v1 f0G40k 9115654aeef1995f7dd3c6fc4140bebbef0ca9760bed798105a2380a34299831
v1 f0G48k 78bc9cab27e34bcfc194f93029374d871d8b3e663ddedea32a9709e894cc8fe8
v2 D32k d8043378cc6619083d385f5a045de09b83fb3bf8de45c433ca863b71723ac3ca
v2 D40k 471378e894e7191f89a94eda8288c5947b16bbe0b10c3f1f17efdb7a1d998242
v2 D48k db01094a93c09868a278e03dafe8bb781bfcc1a5ba8df168c948bf9168c84d82
v2 G32k 869b26a47f75168d6126f64ac39e6de5247017a8658cfd68aca600f7323efb9f
v2 G40k a3843da7fde33db1dab176146c70d6c2df06eafe9457f4e3aa10024e9c6a4b69
v2 G48k 2e2b1581a436d07a76b10b9d38765f64aa02836dc65c7dee1ce4140c11ea158b
v2 f0D32k bd7134e7793674c85474d5145d2d982e3c5d8124fc7bb6c20f710ed65808fa8a
v2 f0D40k 6b6ab091e70801b28e3f41f335f2fc5f3f35c75b39ae2628d419644ec2b0fa09
v2 f0D48k 2269b73c7a4cf34da09aea99274dabf99b2ddb8a42cbfb065fb3c0aa9a2fc748
v2 f0G32k 2332611297b8d88c7436de8f17ef5f07a2119353e962cd93cda5806d59a1133d
v2 f0G40k 3b2c44035e782c4b14ddc0bede9e2f4a724d025cd073f736d4f43708453adfcb
v2 f0G48k b5d51f589cc3632d4eae36a315b4179397695042edc01d15312e1bddc2b764a4
"""
"""Upstream's own list of hashes (its sha256.env)."""


def _pretrained() -> tuple[Published, ...]:
    """What training of RVC voices starts from: `rvc-v2-40k`, `rvc-v2-40k-nof0`, …: generator, then critic."""
    hashes = {}
    for line in _PRETRAINED.split("\n")[1:-1]:
        version, file, sha256 = line.split()
        hashes[version, file] = sha256
    found = []
    for version, folder in (("v1", "pretrained"), ("v2", "pretrained_v2")):
        for rate in ("32k", "40k", "48k"):
            for mark, suffix in (("f0", ""), ("", "-nof0")):
                names = (f"{mark}G{rate}", f"{mark}D{rate}")
                files = tuple(
                    PublishedFile(
                        f"{folder}/{name}.pth", f"{name}.pth", None, hashes[version, name], 300_000_000
                    )
                    for name in names
                )
                about = f"what an RVC {version} voice at {rate} is trained from"
                about += "" if mark else ", without pitch"
                found.append(Published(f"rvc-{version}-{rate}{suffix}", *_RVC, about, files, kind="part"))
    return tuple(found)


PUBLISHED = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            *(KOKORO_10, KOKORO_11_ZH, KOKORO_019, KOKORO_MLX, STYLETTS2_LIBRITTS, STYLETTS2_LJSPEECH),
            *(CONTENTVEC, RMVPE, *_EMBEDDERS, *_pretrained()),
        )
    }
)
"""By the name that `models pull` and `--model` take."""

SAME_KOKORO = frozenset(
    {KOKORO_INT8_SHA256, *(entry.weights.sha256 for entry in (KOKORO_10, KOKORO_MLX) if entry.weights.sha256)}
)
"""Hashes of files that hold one and the same Kokoro 1.0, rounded or whole."""
