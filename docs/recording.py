"""recording.py PROGRAM: runs `dev` and the commands below, and writes what a terminal showed as
docs/dev.svg. The lines come one after the other, and stay; without motion all are there at once.

What is shown is what was said, but for a width of 92 columns and the program's folder."""

import os
import subprocess
import sys
import textwrap
import time
from html import escape
from pathlib import Path

PROGRAM = Path(sys.argv[1]).resolve()
WIDTH, LINE, CHARACTER = 92, 19, 8.0

#: Why, and what is typed.
SHOWN = [
    ("The media team aborts one of its uploads.",
     'curl -sX DELETE -H "Authorization: Bearer $MEDIA" $UPLOADS/$UPLOAD -w "%{http_code}\\n"'),
    ("The finance team may not, and learns why.",
     'curl -sX DELETE -H "Authorization: Bearer $FINANCE" $UPLOADS/$UPLOAD | jq .detail'),
    ("Old uploads, in bulk: nothing is aborted before the job is confirmed.",
     "glacier-gateway jobs create --vault media-backlog --older-than P365D --quiet-for PT0S"),
    ("Who did what, and did anybody change the record?", "glacier-gateway audit verify"),
]  # fmt: skip


def run(command, environment, patience=20):
    """What a shell says to it. What is not yet so is asked for again."""
    shell = ["bash", "-c", f". {environment}\nUPLOADS=$GATEWAY_URL/v1/accounts/-/vaults/media-photos/"
             f"multipart-uploads\nPATH={PROGRAM.parent}:$PATH\n{command}"]  # fmt: skip
    deadline = time.monotonic() + patience
    while True:
        done = subprocess.run(shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == 0 or time.monotonic() > deadline:
            assert done.returncode == 0, done.stdout
            return done.stdout
        time.sleep(0.5)


def record():
    """Lines as (class, text, seconds since the one before)."""
    command = (PROGRAM, "dev", "--port", "0", "--log", "off")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as dev:
        try:
            lines = [("typed", "$ glacier-gateway dev", 1)]
            for line in dev.stdout:
                if line.startswith(". "):
                    environment = line[2:].strip()
                    break
                if line.startswith(("  REST", "  Swagger", "  AWS", "  Vaults")) or "running" in line:
                    lines.append(("said", line.rstrip(), 0.2))
            for why, typed in SHOWN:
                lines += [("said", "", 0.2), ("why", f"# {why}", 1.2), ("typed", f"$ {typed}", 0.8)]
                said = run(typed, environment).splitlines()
                lines += [("said", line, 0.5 if n == 0 else 0.1) for n, line in enumerate(said)]
            return lines
        finally:
            dev.terminate()


def draw(lines):
    rows, at = [], 0.0
    for kind, text, pause in lines:
        at += pause
        wrapped = textwrap.wrap(text, WIDTH, subsequent_indent="    ", drop_whitespace=False) or [""]
        rows += [(kind, part, at) for part in wrapped]
    width, height = round(WIDTH * CHARACTER + 40), len(rows) * LINE + 56
    texts = "\n".join(
        f'  <text class="{kind}" x="20" y="{52 + n * LINE}" style="animation-delay:{at:.1f}s" '
        f'xml:space="preserve">{escape(text)}</text>'
        for n, (kind, text, at) in enumerate(rows)
        if text.strip()
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
  <title id="title">A terminal: glacier-gateway dev, an abort, a denial, a job and the audit trail</title>
  <style>
    text {{ font: 13.2px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d1d7e0 }}
    .typed {{ fill: #ffffff; font-weight: 600 }}
    .why {{ fill: #7ee787 }}
    @media (prefers-reduced-motion: no-preference) {{
      text {{ opacity: 0; animation: show 0.05s forwards }}
    }}
    @keyframes show {{ to {{ opacity: 1 }} }}
  </style>
  <rect width="{width}" height="{height}" rx="8" fill="#0d1117" stroke="#3d444d"/>
  <circle cx="20" cy="18" r="5" fill="#f85149"/><circle cx="38" cy="18" r="5" fill="#d29922"/><circle cx="56" cy="18" r="5" fill="#3fb950"/>
{texts}
</svg>
"""


Path(__file__).with_name("dev.svg").write_text(draw(record()))
