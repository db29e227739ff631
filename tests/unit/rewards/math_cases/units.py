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
    "amounts after a sign of dollars": [
        (r"\$12.75", [r"\$12\frac{3}{4}", r"\$12\tfrac34", r"\$\frac{51}{4}"], [r"\$12", r"\$\frac{3}{4}"]),
        ("5000", [r"\$5\cdot10^3", r"\$5\times 1000", r"\$5 000"], [r"\$5", "$5"]),
        (r"\$ 7{.}25", ["7.25", r"\$7.25"], ["725", "7"]),
        (r"\$\frac{3}{4}", [r"75\text{ cents}", "0.75"], ["75", r"\$75"]),
        (r"\$4, \$5", ["4,5", "$4, $5"], ["4", "9"]),
    ],
    "words that exclude each other": [
        (r"20\%\text{ decrease}", [r"20\%", "20", r"20\%\text{ drop}"], [r"20\%\text{ increase}", r"20\%\text{ gain}"]),
        (r"5\text{ km north}", [r"5\text{ km}", "5"], [r"5\text{ km south}", r"5\text{ km east}"]),
        (r"15\%\text{ loss}", [r"15\%"], [r"15\%\text{ profit}", r"15\%\text{ gain}"]),
        (r"3\text{ m left}", [r"3\text{ m}"], [r"3\text{ m right}"]),
        (r"3\text{ days before}", [r"3\text{ days}"], [r"3\text{ days after}"]),
        (r"30^\circ C", ["30", r"30^\circ", "30℃"], [r"30^\circ F", r"30^\circ\text{F}"]),
        (r"3\text{ wins}", ["3"], [r"3\text{ losses}"]),
        (r"5\text{ May}", ["5"], [r"5\text{ June}"]),
        (r"16\%", ["16", r"16\text{ percent}"], [r"16\text{ students}", "16 people"]),
    ],
    "units in Roman type": [
        (r"(5\text{ m/s})", [r"(5 \mathrm{m/s})"], [r"(5 \mathrm{km/h})"]),
        (r"5\text{ ohm}", [r"5{\rm \Omega}", r"5\ \mathrm{\Omega}"], [r"5{\rm N}"]),
    ],
    "bare units": [
        (r"5\text{ N}", ["5 N", "5N"], ["5 J", "5x", "6 N"]),
        (r"250\text{ g}", ["250g", "250 g", r"0.25\text{ kg}"], ["250m", "250 kg"]),
        (r"7\text{ m}", ["7 m", "7m"], ["7 s", "7 m^2"]),
        (r"45\text{ min}", ["45 min", "45", "45 minutes"], ["45 s", "45 hours"]),
        (r"30\text{ cm}^3", ["30 cc", "30 mL"], ["31 cc"]),
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
    "powers of units": [
        ("81", [r"81\text{ cm²}", r"81\text{ m³}"], [r"80\text{ cm²}"]),
        (r"81\text{ cm}^2", [r"81\text{ cm²}", r"81\text{ cm}²"], [r"81\text{ cm³}", r"81\text{ m²}"]),
    ],
    "arguments of functions": [
        (
            r"2\sin x\cos x",
            [
                r"2\sin x\cdot\cos x",
                r"2\sin{x}\cdot\cos{x}",
                r"2\sin x * \cos x",
                r"2\sin(x)\cos(x)",
                r"\cos x\times 2\sin x",
                r"\sin 2x",
            ],
            [r"2\sin(x\cos x)", r"2\sin x", r"\sin x\cos x"],
        ),
        (r"\ln 2\cdot\ln 3", [r"\ln 3\cdot\ln 2", r"\ln 2\ln 3", r"\ln(2)\ln(3)"], [r"\ln 6", r"\ln(2\ln 3)"]),
        (r"x\ln x", [r"\ln x\cdot x"], [r"\ln(x^2)", r"\ln(x\cdot x)"]),
        (r"\log_2 5", [r"\log_2 3\cdot\log_3 5"], [r"\log_2 3\cdot 5"]),
    ],
    "degrees in functions": [
        (r"\frac12", [r"\sin 30^\circ", r"\sin(30^\circ)", r"\cos 60^{\circ}"], [r"\sin 30", r"\cos 30^\circ"]),
        (r"\sin 30^\circ", ["0.5"], [r"\sin 30"]),
    ],
}
