"""Who is on faker's portraits (faker-js, `assets-person-portrait`, AI-made, CC0), by their prompts.

`metadata/<sex>/<number>.json` beside the pictures holds the words each was made from, such as
"profile picture of a 59-year-old man from Nepal". They say what was asked for, not what was drawn.
Countries are pooled by the regions in which the United Nations report (M49, groups of the
Sustainable Development Goals): 200 portraits are of 144 countries.
"""

import json
import re
from pathlib import Path
from typing import Final

from pentimento.errors import DataError

_NATIONS: Final = {
    "Sub-Saharan Africa": (
        "Angola, Benin, Botswana, British Indian Ocean Territory (Chagos Archipelago), Cameroon, "
        "Central African Republic, Comoros, Cote d'Ivoire, Democratic Republic of the Congo, "
        "Djibouti, Equatorial Guinea, Eritrea, Eswatini, Gabon, Gambia, Ghana, Malawi, Mauritania, "
        "Mayotte, Mozambique, Namibia, Rwanda, Saint Helena, Sao Tome and Principe, Senegal, "
        "Seychelles, Somalia, South Sudan, Tanzania, Togo, Zimbabwe"
    ),
    "North Africa, West Asia": (
        "Algeria, Cyprus, Egypt, Israel, Kuwait, Libyan Arab Jamahiriya, Morocco, Oman, Palestine, "
        "Qatar, Saudi Arabia, Syrian Arab Republic, Yemen"
    ),
    "Central and South Asia": (
        "Bangladesh, India, Kyrgyz Republic, Nepal, Pakistan, Sri Lanka, Turkmenistan, Uzbekistan"
    ),
    "East and South-East Asia": (
        "Brunei Darussalam, Cambodia, China, Democratic People's Republic of Korea, Hong Kong, "
        "Indonesia, Japan, Lao People's Democratic Republic, Mongolia, Republic of Korea, "
        "Singapore, Taiwan, Thailand, Timor-Leste"
    ),
    "Latin America, Caribbean": (
        "Argentina, Bahamas, Bolivia, Bouvet Island, Colombia, Curacao, Dominica, "
        "Dominican Republic, Ecuador, French Guiana, Grenada, Guadeloupe, Guyana, Haiti, Honduras, "
        "Jamaica, Martinique, Nicaragua, Panama, Paraguay, Peru, Puerto Rico, Saint Martin, "
        "Sint Maarten, Trinidad and Tobago, Turks and Caicos Islands, Uruguay, Virgin Islands"
    ),
    "Oceania": (
        "American Samoa, Australia, Cocos (Keeling) Islands, Cook Islands, Fiji, French Polynesia, "
        "Guam, Heard Island and McDonald Islands, Kiribati, Marshall Islands, Nauru, New Zealand, "
        "Niue, Norfolk Island, Palau, Pitcairn Islands, Samoa, Solomon Islands, Tonga, "
        "United States Minor Outlying Islands, Vanuatu, Wallis and Futuna"
    ),
    "Europe, Northern America": (
        "Aland Islands, Bermuda, Bulgaria, Canada, Faroe Islands, Finland, France, Germany, "
        "Hungary, Iceland, Ireland, Isle of Man, Luxembourg, Malta, Moldova, Monaco, Montenegro, "
        "Netherlands, Norway, Poland, Saint Pierre and Miquelon, San Marino, Serbia, Slovakia, "
        "Slovenia, Sweden, United Kingdom, United States of America"
    ),
}
REGION_OF: Final = {
    country: region for region, names in _NATIONS.items() for country in names.split(", ")
}
"""Country, as faker writes it → region; the countries of its portraits."""


def sitter_of(photo: Path) -> dict[str, str]:
    """Return what is known of a portrait's sitter: `sex`, `age` in years and `country`.

    Args:
        photo: `<folder>/<sex>/<number>.jpg`; `<folder>/metadata` holds the prompts.

    Raises:
        DataError: there is no prompt, or it is not of the expected form.
    """
    path = photo.parents[1] / "metadata" / photo.parent.name / f"{photo.stem}.json"
    try:
        prompt = str(json.loads(path.read_text(encoding="utf-8"))["prompt"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no prompt of a faker portrait ({error})") from None
    found = re.fullmatch(r".* an? (\d+)-year-old \w+ from ([^,]+)(, .+)?", prompt)
    if found is None:
        raise DataError(f"{path}: the prompt {prompt!r} names no age and country")
    return {"sex": photo.parent.name, "age": found[1], "country": found[2]}
