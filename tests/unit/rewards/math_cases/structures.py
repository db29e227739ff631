"""Equations, lists, sets, intervals, points and choices."""

from tests.unit.rewards.math_cases.kinds import Kinds

STRUCTURES: Kinds = {
    "equations": [
        (
            "5",
            [
                "x=5",
                "5=x",
                r"x\approx5",
                "AB=5",
                "f(3)=5",
                "S_{10}=5",
                r"\angle A=5",
                r"\text{Area}=5",
                "x=2+3=5",
                "=5",
            ],
            ["2x=5", "x^2=5", "|x|=5", "x+1=5", "4=5", "2+2=5", "2^x=5", "-x=5", "1/x=5", "xy=5", r"\log x=5", "x=4=5"],
        ),
        ("5", ["x=y=5"], ["x<5", r"x\ne5", "n=5k", "a=1,b=5", r"x=1\text{ or }x=5", "x+y=5", r"\sqrt{x}=5"]),
        ("0", ["x=0"], ["x^2-5x+6=0"]),
        ("x+y=5", ["y+x=5", "2x+2y=10", "x+y-5=0"], ["5", "x-y=5", "x+y"]),
        ("x^2=5", ["5=x^2"], ["5", "x=5"]),
        ("y=2x+1", ["2x-y+1=0", "2x+1"], ["y=2x-1", "x=2y+1"]),
        ("f(x)=x+1", ["x+1", "g(x)=x+1"], ["f(x)=x+2", "x"]),
        (r"\frac{x^2}{25}+\frac{y^2}{16}=1", [r"\frac{x^2}{25} + \frac{y^2}{16} = 1", "16x^2+25y^2=400"], ["1"]),
        ("x=5,y=6", ["y=6,x=5", "(5,6)", "(x,y)=(5,6)"], ["x=6,y=5", "(6,5)", "x=5"]),
        ("x=5", ["5"], ["x=5,y=6", "x=6"]),
    ],
    "lists": [
        (
            "1,2,3",
            ["3, 2, 1", r"\{1,2,3\}", "1, 2 and 3", r"x\in\{1,2,3\}", "1；2；3"],
            ["1,2", "1,2,4", "1,2,3,4", "123"],
        ),
        (r"\pm3", ["3,-3", r"x=\pm3"], ["3", "-3", r"\pm2"]),
        (r"1\pm\sqrt{19}", [r"1+\sqrt{19},1-\sqrt{19}"], [r"1+\sqrt{19}"]),
        ("(1,2)", ["(1, 2).", r"\left(1,\frac42\right)"], ["(2,1)", "[1,2]", r"\{1,2\}", "2,1"]),
        ("(1,2),(3,4)", ["(3,4),(1,2)"], ["(2,1),(4,3)", "(1,2)"]),
        (r"\{1,2,2\}", [r"\{1,2\}"], [r"\{1,2,3\}"]),
        (
            r"\begin{pmatrix}1\\2\end{pmatrix}",
            [r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"],
            [r"\begin{pmatrix}2\\1\end{pmatrix}"],
        ),
    ],
    "dots": [
        (
            r"1, 2, \ldots, 10",
            [r"1,2,\dots,10", "1,2,...,10", r"1,2,3,\cdots,10", "1,2,3,4,5,6,7,8,9,10"],
            [r"1, 5, \ldots, 10", r"1,2,\ldots,11", r"2,1,\ldots,10", "10", "1,2,10"],
        ),
        (r"2, 4, \ldots, 2n", [r"2,4,\dots,2n"], [r"2,6,\ldots,2n", r"2,4,\ldots,n", "2n"]),
        (r"\{1,2,\ldots,n\}", [r"\{1,2,3,\dots,n\}"], [r"\{1,3,\ldots,n\}", r"\{1,2,\ldots,n-1\}"]),
        (r"1+2+\cdots+n", [r"\frac{n(n+1)}{2}"], [r"\frac{n(n-1)}{2}"]),
    ],
    "choices": [
        (
            r"\textbf{(C)}\ 24",
            ["24", "C", r"\text{(C)}", r"\mathrm{(C)\ }24", "(C) 24", "C. 24"],
            ["25", "D", r"\textbf{(D)}\ 24", r"\textbf{(C)}\ 25"],
        ),
        (r"\text{C}", ["(C)", r"\textbf{(C)}", "C."], ["D", "24", "CD"]),
        ("A, C", ["C, A", r"\text{A and C}"], ["A", "A, B"]),
        (r"\textbf{(D)}\ \text{Tuesday}", ["Tuesday", "D"], ["Monday"]),
    ],
    "sets": [
        (r"\emptyset", [r"\varnothing", r"\{\}", r"\text{empty set}"], ["0", r"\{0\}"]),
        ("[2,\\infty)", [r"x\ge2", r"2\le x", r"x\in[2,+\infty)"], ["x>2", "(2,\\infty)", "2"]),
        (
            r"(-\infty,-1]\cup[3,\infty)",
            [r"x\le-1\text{ or }x\ge3", r"x\le-1, x\ge3"],
            [r"x<-1\text{ or }x\ge3", "[-1,3]"],
        ),
        (r"x\le-1\text{ or }x\ge3", [r"[3,\infty)\cup(-\infty,-1]"], [r"(-\infty,-1]"]),
        ("|x|<1", ["-1<x<1", "(-1,1)", r"\{x\mid -1<x<1\}"], [r"|x|\le1", "x<1"]),
        (r"\mathbb{R}\setminus\{1\}", [r"(-\infty,1)\cup(1,\infty)", r"x\ne1"], [r"x\ne2", r"\mathbb{R}"]),
        ("(1,2]", [r"1<x\le2"], ["[1,2]", "(1,2)", "(1,3]"]),
        ("a<b", ["b>a"], ["a>b", r"a\le b"]),
    ],
    "brackets of intervals": [
        ("(2,5]", ["]2,5]", r"x \in ]2,5]", "2<x\\le5"], ["]2,5[", "[2,5["]),
        ("(2,5)", ["]2,5["], ["]2,5]", "[2,5["]),
        (r"[0,1)\cup(2,3]", [r"[0,1[ \cup ]2,3]"], [r"[0,1] \cup ]2,3]"]),
        ("[2,5]", [r"2 \le x \le 5"], ["2,5", "(2,5)"]),
        ("[1,2,3]", ["1, 2, 3"], ["1,3,2"]),
    ],
    "products and alternatives": [
        ("2", ["p=2", "f(5)=2", "P(A)=2", "f(f(1))=2"], ["p(p-1)=2", "n(n+1)=2", "f(x)g(x)=2", "x=1,y=2"]),
        ("x=2", ["y=2"], ["p(x)=2"]),
        (r"x=1\text{ or }x=2", ["1,2", r"x=2\text{ or }x=1", r"x \in \{1,2\}"], ["(1,2)", "[1,2]", "x=1, y=2"]),
    ],
    "more names": [
        (
            "5",
            [
                r"v_{\text{avg}}=5",
                r"\mathbb{E}[X]=5",
                r"\text{Area of }ABC=5",
                "x^*=5",
                r"\max f(x)=5",
                r"\therefore x=5",
                r"\Rightarrow 5",
                r"\text{the value of }x\text{ is }5",
            ],
            [r"\max f(x)=6", r"\therefore 2x=5"],
        ),
        ("(x,y)=(4,1)", ["(4,1)", "(y,x)=(1,4)", r"\{(4,1)\}", "x=4, y=1"], ["(y,x)=(4,1)", "(1,4)"]),
        ("x=1,y=2,z=3", ["(x,y,z)=(1,2,3)", "(1,2,3)"], ["(x,z,y)=(1,2,3)"]),
        (r"\{1,2,3\}", [r"A\cup B=\{1,2,3\}"], [r"\{\{1\},\{2\},\{3\}\}", r"\{1\},\{2\},\{3\}"]),
        (r"x \in (1,2)", ["(1,2)", "1<x<2"], ["1,2"]),
        (r"\frac52\text{ or }-3", [r"-3,\frac52"], [r"(\frac52,-3)"]),
    ],
}
