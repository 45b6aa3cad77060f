"""Class names and prompt templates of MTIL: CLIP's published prompt notes, torchvision's names for the rest."""

from collections.abc import Mapping


def _with_article(*frames: str) -> tuple[str, ...]:
    """Each frame with "a", then each with "the"."""
    return tuple(frame.replace("@", "a", 1) for frame in frames) + tuple(
        frame.replace("@", "the", 1) for frame in frames
    )


# The first template of each data set is the one used in training.
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Aircraft": _with_article("a photo of @ {}, a type of aircraft."),
    "Caltech101": _with_article(
        "a photo of @ {}.",
        "a painting of @ {}.",
        "@ plastic {}.",
        "a sculpture of @ {}.",
        "a sketch of @ {}.",
        "a tattoo of @ {}.",
        "@ toy {}.",
        "a rendition of @ {}.",
        "@ embroidered {}.",
        "@ cartoon {}.",
        "@ {} in a video game.",
        "@ plushie {}.",
        "@ origami {}.",
        "art of @ {}.",
        "graffiti of @ {}.",
        "a drawing of @ {}.",
        "a doodle of @ {}.",
    ),
    "CIFAR100": _with_article(
        "a photo of @ {}.",
        "a blurry photo of @ {}.",
        "a black and white photo of @ {}.",
        "a low contrast photo of @ {}.",
        "a high contrast photo of @ {}.",
        "a bad photo of @ {}.",
        "a good photo of @ {}.",
        "a photo of @ small {}.",
        "a photo of @ big {}.",
    ),
    "DTD": _with_article(
        "a photo of @ {} texture.", "a photo of @ {} pattern.", "a photo of @ {} thing.", "a photo of @ {} object."
    ),
    "EuroSAT": (
        "a centered satellite photo of {}.",
        "a centered satellite photo of a {}.",
        "a centered satellite photo of the {}.",
    ),
    "Flowers": ("a photo of a {}, a type of flower.",),
    "Food": ("a photo of a {}, a type of food.",),
    "MNIST": ('a photo of the number: "{}".',),
    "OxfordPet": ("a photo of a {}, a type of pet.",),
    "StanfordCars": (
        "a photo of a {}, a type of car.",
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of my {}.",
        "i love my {}!",
        "a photo of my dirty {}.",
        "a photo of my clean {}.",
        "a photo of my new {}.",
        "a photo of my old {}.",
    ),
    "SUN397": _with_article("a photo of @ {}."),
}

CALTECH101: Mapping[str, str] = {
    "Faces": "off-center face",
    "Faces_easy": "centered face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
    "cougar_body": "body of a cougar cat",
    "cougar_face": "face of a cougar cat",
    "crocodile_head": "head of a crocodile",
    "flamingo_head": "head of a flamingo",
    "snoopy": "snoopy (cartoon beagle)",
    "yin_yang": "yin and yang symbol",
}

# the first is label 0; the question mark that torchvision's list has behind one of them is left out
# fmt: off
FLOWERS = (
    "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold", "tiger lily",
    "moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon", "colt's foot", "king protea",
    "spear thistle", "yellow iris", "globe-flower", "purple coneflower", "peruvian lily", "balloon flower",
    "giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger", "grape hyacinth",
    "corn poppy", "prince of wales feathers", "stemless gentian", "artichoke", "sweet william", "carnation",
    "garden phlox", "love in the mist", "mexican aster", "alpine sea holly", "ruby-lipped cattleya", "cape flower",
    "great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily", "poinsettia",
    "bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion", "petunia",
    "wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium", "orange dahlia",
    "pink-yellow dahlia", "cautleya spicata", "japanese anemone", "black-eyed susan", "silverbush",
    "californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower", "tree poppy", "gazania",
    "azalea", "water lily", "rose", "thorn apple", "morning glory", "passion flower", "lotus", "toad lily",
    "anthurium", "frangipani", "clematis", "hibiscus", "columbine", "desert-rose", "tree mallow", "magnolia",
    "cyclamen", "watercress", "canna lily", "hippeastrum", "bee balm", "ball moss", "foxglove", "bougainvillea",
    "camellia", "mallow", "mexican petunia", "bromelia", "blanket flower", "trumpet creeper", "blackberry lily",
)
# fmt: on

EUROSAT: Mapping[str, str] = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road",
    "Industrial": "industrial buildings or commercial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings or homes or apartments",
    "River": "river",
    "SeaLake": "lake or sea",
}


def readable(folder: str, names: Mapping[str, str]) -> str:
    """The name of a class from its folder: the list's, or the folder with blanks for underscores."""
    return names.get(folder, folder.replace("_", " "))
