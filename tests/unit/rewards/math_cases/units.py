"""Money, units, degrees and percent."""

from tests.unit.rewards.math_cases.kinds import Kinds

UNITS: Kinds = {
    "dollars": [
        (
            r"\$36",
            ["36", r"\$36", r"{\$}36", r"US\$36", "$36", r"\$36.00", r"36\text{ dollars}"],
            ["35", "3.6", r"36\text{ cents}"],
        ),
        (r"\$32,\!348", ["32348", "32,348", r"\$32{,}348"], ["32", "348"]),
        (r"\text{\$}36", ["36"], ["-36"]),
        (r"-\$36", ["-36", r"-\$36"], ["36"]),
        (r"\$36\text{ per hour}", ["36"], ["37"]),
        (r"\$4.50 \text{ or } \$5", ["4.5, 5"], ["4.50", r"\frac12"]),
    ],
    "units": [
        (r"5\text{ cm}", ["5", "5 cm", r"5\mathrm{~cm}", r"50\text{ mm}"], ["6", r"5\text{ m}", r"5\text{ hours}"]),
        ("5", [r"5\,\text{m/s}", r"5\mathrm{~km} / \mathrm{h}", r"5\text{ cm}^2", "5 apples", "5th"], ["5x", "5ab"]),
        (r"9:30\text{ AM}", ["9:30", "9:30 AM"], [r"9:30\text{ PM}", "9:31"]),
        (r"45^\circ", ["45", r"\frac{\pi}{4}", r"45\text{ degrees}"], ["46", r"\frac{\pi}{3}"]),
        ("4:3", [r"\frac43"], ["3:4", "9:30"]),
    ],
    "measures": [
        (
            r"60\text{ km/h}",
            [
                "60",
                r"60\text{ km per hour}",
                r"60\text{ kilometers per hour}",
                r"60\frac{\text{km}}{\text{h}}",
                r"60\ \mathrm{km\,h^{-1}}",
                "60 kmh",
                r"1\text{ km/min}",
            ],
            [r"60\text{ m/s}", r"60\text{ h/km}", r"60\text{ km}", r"60\text{ mph}", r"60\text{ km/h}^2"],
        ),
        (
            r"9.8\text{ m/s}^2",
            [r"9.8\text{ meters per second squared}", r"9.8\ \mathrm{m\,s^{-2}}", r"9.8\frac{\text{m}}{\text{s}^2}"],
            [r"9.8\text{ m/s}"],
        ),
        (r"5\text{ cm}^2", [r"5\text{ cm squared}", r"500\text{ mm}^2"], [r"5\text{ cm cubed}", r"5\text{ m}^2"]),
        (r"7\text{ kg}", [r"7000\text{ g}", "7 kgs"], [r"7\text{ lbs}", r"7\text{ g}"]),
        ("5 pounds", [r"5\text{ lbs}", "£5", "5"], ["6 pounds"]),
        (r"\$5", [], ["£5"]),
    ],
    "marks of other kinds": [
        (r"35\%", ["35"], [r"35^\circ", r"35\text{ cm}", r"\$35"]),
        (r"\$40", ["40"], [r"40\%", r"40^\circ"]),
        (r"60^\circ", ["60", r"\frac{\pi}{3}", r"\frac{\pi}{3}\text{ rad}"], [r"60\text{ rad}", r"60\text{ minutes}"]),
        (r"\frac{\pi}{3}", [r"60^\circ"], [r"\frac{\pi}{3}^\circ", r"\frac{\pi}{3}\text{ degrees}"]),
    ],
    "units in every spelling": [
        (
            "5",
            [
                r"5\,\text{m}",
                r"5\ \text{s}",
                r"x=5\,\text{s}",
                r"5\,\text{m}^2",
                "5 m/s",
                r"5\,\mathrm{W/m^2}",
                r"5\,\mathrm{N\cdot m}",
                r"5\,\Omega",
                r"5\,\mathrm{\mu m}",
                r"5\,M_\odot",
            ],
            ["5m", "5x", r"6\,\text{m}"],
        ),
        (r"9.8 \mathrm{~m} / \mathrm{s}^2", ["9.8 m/s^2", r"9.8\,\text{m}/\text{s}^{2}"], ["9.8 m/s"]),
        (
            r"2 \text{ hours } 30 \text{ minutes}",
            [r"150\text{ minutes}", r"2.5\text{ hours}", r"2\text{ hours and }30\text{ minutes}"],
            [r"2\text{ hours}", r"230\text{ minutes}"],
        ),
        (r"\$0.75", ["75¢", r"75\text{ cents}"], [r"75\text{ dollars}"]),
        (r"500 \text{ mL}", [r"500\text{ cm}^3", r"0.5\text{ liters}"], [r"500\text{ cm}^2"]),
    ],
    "degrees in functions": [
        (r"\frac12", [r"\sin 30^\circ", r"\sin(30^\circ)", r"\cos 60^{\circ}"], [r"\sin 30", r"\cos 30^\circ"]),
        (r"\sin 30^\circ", ["0.5"], [r"\sin 30"]),
    ],
}
