"""How the page looks: light, dark, narrow and printed. Nothing is fetched."""

_SHADES = "".join(
    f".s{step}{{background:color-mix(in srgb,var(--shade) {5 * step}%,transparent)}}"
    for step in range(1, 11)
)

STYLE = f"""
:root{{color-scheme:light dark;--ink:#1a1a1b;--paper:#fff;--soft:#f3f4f6;--line:#c9ccd1;
--quiet:#545a63;--shade:#2b7bba;--warn:#7a2e00;--warn-paper:#fff1e0;
--blue:#0072b2;--green:#009e73}}
@media (prefers-color-scheme:dark){{:root{{--ink:#e9eaec;--paper:#16181c;--soft:#20242a;
--line:#444a53;--quiet:#aeb4bd;--shade:#4f9bdd;--warn:#ffd9b0;--warn-paper:#43280c;--blue:#3b9fe0;--green:#2bbf95}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:82rem;padding:1rem clamp(.75rem,3vw,2rem) 3rem;color:var(--ink);
background:var(--paper);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}}
h1{{font-size:1.6rem;line-height:1.25;margin:.8rem 0 .3rem}}
h2{{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line)}}
h3{{font-size:1rem;margin:1.2rem 0 .4rem}}
.warning{{border-left:.35rem solid #d55e00;background:var(--warn-paper);color:var(--warn);
padding:.5rem .8rem;font-weight:600;margin:.5rem 0}}
.quiet,figcaption,.notes{{color:var(--quiet);font-size:.9rem}}
.notes{{padding-left:1.2rem}}
.scroll{{position:relative;overflow-x:auto;margin:.5rem 0}}
table{{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;
overflow-wrap:normal}}
caption{{text-align:left;color:var(--quiet);padding-bottom:.25rem}}
th,td{{padding:.22rem .45rem;text-align:right;border-bottom:1px solid var(--line);
white-space:nowrap}}
thead th{{border-bottom:2px solid var(--ink);vertical-align:bottom}}
th:first-child,.left{{text-align:left}}
tbody th{{font-weight:500;white-space:normal;max-width:20rem;position:sticky;left:0;
background:var(--paper)}}
.main tbody th{{min-width:min(11.5rem,38vw)}}
.detail{{color:var(--quiet);font-size:.92em}}
.center{{text-align:center}}
tbody tr:hover,tbody tr:hover th{{background:var(--soft)}}
.confusion td{{text-align:center;min-width:3rem}}
.confusion .own{{outline:2px solid var(--ink);outline-offset:-2px}}
.spoken{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}}
.pictures{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));
gap:1.5rem;align-items:start}}
figure{{margin:0}}
.picture{{display:block;width:100%;max-width:30rem;height:auto;color:var(--ink);
stroke-linejoin:round;stroke-linecap:butt;margin-bottom:.3rem}}
.picture text{{font-family:"DejaVu Sans",Verdana,sans-serif}}
details{{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:0 .8rem}}
details[open]{{padding-bottom:.8rem}}
summary{{cursor:pointer;padding:.45rem 0}}
summary h3{{display:inline;margin:0}}
summary:focus-visible,.scroll:focus-visible{{outline:2px solid var(--shade);outline-offset:2px}}
code{{font-size:.88em}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.9rem;margin:0}}
dt{{color:var(--quiet)}}dd{{margin:0}}
{_SHADES}
@media (max-width:30rem){{dl{{grid-template-columns:1fr}}dd{{margin:0 0 .4rem}}
}}
@media print{{:root{{color-scheme:light;--ink:#000;--paper:#fff;--soft:#fff;--line:#bbb;
--quiet:#333;--warn:#000;--warn-paper:#fff;--blue:#0072b2;--green:#009e73}}body{{max-width:none;padding:0;font-size:9pt}}
.scroll{{overflow:visible}}table{{font-size:7pt}}th,td{{padding:.1rem .3rem;white-space:normal}}
figure,tr{{break-inside:avoid}}.pictures{{grid-template-columns:1fr 1fr}}}}
""".replace("\n", "")
