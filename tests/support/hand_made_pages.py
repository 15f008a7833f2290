"""Pages made by hand against the recorder: each tries one way by which a secret might leave. Pure.

Whatever is called `secret-…` in them may not leave. `later()`, where there is one, is called while the page is viewed.
In the HTML, BLOCK, MASK and SHOW stand for the marks.
"""

from __future__ import annotations

from typing import Any

MARKS = {"BLOCK": "data-site-connect-block", "MASK": "data-site-connect-mask", "SHOW": "data-site-connect-show"}


def html(text: str) -> str:
    """Return a page with the marks in it."""
    for name, mark in MARKS.items():
        text = text.replace(name, mark)
    return f"<!doctype html><meta charset=utf-8><h1>Marker</h1>{text}"


def rules(*paths: str, **told: Any) -> dict[str, Any]:
    """Return one rule of the operator, as a welcome carries it."""
    return {"private": False, "rules": [{"paths": list(paths or ("*",)), **told}]}


PAGES: dict[str, tuple[str, dict[str, Any] | None]] = {
    "option mask": (
        "<select SHOW><option MASK value=secret-ov>secret-ot</option><optgroup MASK label=secret-gl>"
        "<option>secret-go</option></optgroup></select><label MASK>secret-l<input></label><datalist MASK "
        "id=dl><option value=secret-dl>secret-dt</datalist>",
        None,
    ),
    "details": (
        "<details MASK><summary>secret-s</summary><p title=secret-t>secret-p</p></details>",
        None,
    ),
    "template": (
        "<template><p>secret-tpl</p></template><template MASK><p>secret-tp2</p></template>",
        None,
    ),
    "rich": (
        "<div contenteditable><p>secret-ce</p><b title=secret-tt>secret-b</b></div>"
        "<script>function later(){document.querySelector('[contenteditable] p').append('secret-more');"
        "document.querySelector('[contenteditable]').append(Object.assign(document.createElement('i'),{te"
        "xtContent:'secret-i'}))}</script>",
        None,
    ),
    "editor attrs": (
        "<div contenteditable><a href='/secret-href' title=secret-tt>x</a><img src='/secret-img.png' "
        "alt=secret-alt></div>",
        None,
    ),
    "svg": (
        "<svg MASK><title>secret-ti</title><desc>secret-de</desc><text>secret-te</text><use "
        "href='/secret-use#x'></use><image href='/secret-im.png'/></svg>",
        None,
    ),
    "css": (
        "<style MASK>.x::after{content:'secret-c'} .y{--v:'secret-v'} .z{background:url(/secret-u)}"
        "</style><div MASK style=\"--q:secret-q;content:'secret-w'\"></div>",
        None,
    ),
    "css attr": (
        "<style>.m::after{content:attr(data-v)}</style><div MASK class=m data-v=secret-v></div>",
        None,
    ),
    "style changed": (
        "<style id=st></style><div MASK><style id=s2></style></div>"
        "<script>function later(){s2.textContent=\".a::after{content:'secret-t'}\";"
        "s2.sheet.insertRule(\".b::after{content:'secret-r'}\");"
        "s2.sheet.cssRules[0].style.setProperty('content','\"secret-sp\"')}</script>",
        None,
    ),
    "adopted": (
        "<div id=h MASK></div>"
        "<script>const r=h.attachShadow({mode:'open'});const s=new CSSStyleSheet();"
        "s.replaceSync(\".a::after{content:'secret-a'}\");r.adoptedStyleSheets=[s];function "
        "later(){s.insertRule(\".b::after{content:'secret-b'}\");"
        "s.replaceSync(\".c::after{content:'secret-c'}\")}</script>",
        None,
    ),
    "input image": (
        "<div MASK><input type=image alt=secret-a src=/secret-s.png><input type=button value=secret-b>"
        "<input type=reset value=secret-r></div><input type=image formaction=/secret-f name=secret-n>",
        None,
    ),
    "selection": (
        "<p MASK id=p>secret-p</p><script>function later(){getSelection().selectAllChildren(p)}</script>",
        None,
    ),
    "title": (
        "<title>secret-t</title><script>function later(){document.title='secret-t2'}</script>",
        None,
    ),
    "aria live": (
        "<div MASK aria-live=polite id=l>x</div>"
        "<script>function later(){l.textContent='secret-l';l.setAttribute('aria-valuetext','secret-vt');"
        "l.ariaLabel='secret-al'}</script>",
        None,
    ),
    "blob data": (
        "<div MASK><img src='data:image/svg+xml,<svg>secret-d</svg>'><iframe "
        "src='data:text/html,secret-x'></iframe><object data='data:text/html,secret-o'></object><embed "
        "src='data:text/html,secret-e'></div><iframe src='data:text/html,secret-y'></iframe>",
        None,
    ),
    "iframe name": (
        "<iframe name=secret-n src='/x?secret-q#secret-h'></iframe><object name=secret-o "
        "data='/o?secret-d'></object><embed src='/e?secret-s' name=secret-en>",
        None,
    ),
    "form": (
        "<form action='/x?secret-a' name=secret-n><button formaction='/secret-f' name=secret-b "
        "value=secret-v>go</button></form>",
        None,
    ),
    "srcset": (
        "<img srcset='/a.png?secret-1 1x, /b.png?secret-2 2x' sizes='100px'><picture MASK><source "
        "srcset='/secret-s.png'><img src=/x></picture>",
        None,
    ),
    "style url": (
        "<p style='background:url(/a?secret-q)'></p><p MASK style='background:url(/secret-p)'></p><p "
        "style='background:image-set(\"/a.png?secret-is\" 1x)'></p><style>"
        ".q{background:image-set('/b.png?secret-iss' 1x)} @import '/c.css?secret-imp' screen; @namespace "
        "url(http://x/?secret-ns);</style>",
        None,
    ),
    "ping": (
        "<a href=https://o.example/ ping='/p?secret-p' download=secret-d>x</a>",
        None,
    ),
    "moved": (
        "<div MASK id=m><p id=a>secret-a</p></div><div BLOCK id=b></div>"
        "<script>function later(){b.append(a);a.firstChild.data='secret-b';m.append(a)}</script>",
        None,
    ),
    "mathml": (
        "<math MASK><mi>secret-mi</mi><annotation encoding=x>secret-an</annotation></math>",
        None,
    ),
    "xml": (
        "<svg xmlns:xlink=http://www.w3.org/1999/xlink MASK><a xlink:href='/secret-x' "
        "xlink:title='secret-xt'><text>secret-t</text></a></svg>",
        None,
    ),
    "shadow iframe": (
        "<div id=h></div>"
        "<script>const r=h.attachShadow({mode:'open'});r.innerHTML='<iframe></iframe>';const "
        "d=r.firstChild.contentDocument;d.body.innerHTML='<input value=secret-v><textarea>"
        "secret-ta</textarea><p MASK>secret-p</p>';function later(){const i=d.querySelector('input');"
        "i.value='secret-t';i.dispatchEvent(new Event('input',{bubbles:true}))}</script>",
        None,
    ),
    "closed later": (
        "<x-a id=h>x</x-a>"
        "<script>function later(){const r=h.attachShadow({mode:'closed'});r.innerHTML='<div MASK><slot>"
        "</slot></div><p>secret-in</p>';h.append('secret-light')}</script>",
        None,
    ),
    "slot open": (
        "<x-a id=h><b title=secret-t>secret-light</b></x-a>"
        "<script>const r=h.attachShadow({mode:'open'});r.innerHTML='<div MASK><slot></slot></div>"
        "'</script>",
        None,
    ),
    "slot fallback nested": (
        "<x-a id=h><x-b id=g slot=s><i id=i>secret-i</i></x-b></x-a>"
        "<script>h.attachShadow({mode:'open'}).innerHTML='<div MASK><slot name=s></slot></div>';"
        "g.attachShadow({mode:'open'}).innerHTML='<slot></slot><u>secret-u</u>'</script>",
        None,
    ),
    "label words": (
        "<form SHOW><label>Security code <input id=x1 value=secret-1></label><label for=x2>"
        "Prüfziffer</label><input id=x2 value=secret-2><input placeholder=CVC value=secret-3><input "
        "aria-label='One-time code' value=secret-4><span id=lb>Passwort</span><input aria-labelledby=lb "
        "value=secret-5><input maxlength=1 inputmode=numeric value=7></form>",
        None,
    ),
    "l9": (
        "<div SHOW><input id=p type=password value='secret-l9'></div><script>p.type='text'</script>",
        None,
    ),
    "replace nameless": (
        "<div SHOW id=w><span><input type=password></span></div>"
        "<script>function later(){w.innerHTML='<span><input value=secret-r></span>'}</script>",
        None,
    ),
    "replace outer": (
        "<div id=w><div SHOW><input type=password></div></div>"
        "<script>function later(){w.innerHTML='<div SHOW><input value=secret-r></div>'}</script>",
        None,
    ),
    "replace late": (
        "<div id=w SHOW><input type=password></div>"
        "<script>function later(){w.innerHTML='';setTimeout(()=>{w.innerHTML='<input value=secret-r>'}"
        ",30)}</script>",
        None,
    ),
    "password attr copies": (
        "<div SHOW id=w><input type=password id=q value=secret-pw></div>"
        "<script>function later(){w.dataset.value=q.value;}</script>",
        None,
    ),
    "output": (
        "<output MASK for=a name=secret-n>secret-o</output><meter MASK value=4711 title=secret-m>"
        "secret-mm</meter><progress MASK value=0.4711>secret-pp</progress>",
        None,
    ),
    "noscript": (
        "<noscript>secret-ns</noscript><!-- secret-comment --><p hidden>plain</p>",
        None,
    ),
    "link": (
        "<link rel=preload href='/secret-pl'><link rel=alternate title=secret-lt href='/secret-al'><link "
        "rel=stylesheet title=secret-st href='/x.css?secret-q'><base href='/secret-base/'><meta "
        "property=og:title content=secret-og><meta http-equiv=refresh content='9999;url=/secret-mr'>"
        '<script type=application/json>{"a":"secret-json"}</script><script src=\'/s.js?secret-sc\'>'
        "</script>",
        None,
    ),
    "select": (
        "<select><option>secretless<option selected>b</select><select id=se><option value=1>"
        "plain-o<option value=secret-v2>plain-p</select>"
        "<script>function later(){se.value='secret-v2';se.dispatchEvent(new Event('change',{bubbles:true}"
        "))}</script>",
        None,
    ),
    "marquee etc": (
        "<marquee MASK>secret-mq</marquee><fieldset MASK><legend>secret-lg</legend></fieldset><table "
        "MASK summary=secret-su><caption>secret-ca</caption><td abbr=secret-ab headers=secret-he>"
        "secret-td</td></table><ruby MASK>secret-rb<rt>secret-rt</rt></ruby>",
        None,
    ),
    "video": (
        "<video MASK src='/secret-v.mp4' poster='/secret-p.png'><track label=secret-tl "
        "src='/secret-t.vtt'>secret-fb</video><audio src='/a.mp3?secret-q'></audio>",
        None,
    ),
    "custom attr": (
        "<p MASK data-x=secret-1 x-y=secret-2 secret-name=1>x</p>",
        None,
    ),
    "font/css prop": (
        "<style>@font-face{font-family:x;src:url(/f.woff?secret-f)} </style><div MASK><style>"
        ".a{list-style-type:'secret-ls2'} .b{quotes:'secret-qu2' 'x'} .c::marker{content:'secret-mk'} "
        "@counter-style s{symbols:'secret-cs'} .d{string-set:x 'secret-ss'} .e{text-overflow:'secret-to'}"
        " .f{hyphenate-character:'secret-hc'} .h[data-x='secret-sel']{} /* secret-comment */</style>"
        "</div>",
        None,
    ),
    "frame nav": (
        "<div MASK><iframe id=f src=/a></iframe></div>"
        "<script>function later(){f.contentDocument.body.innerHTML='<p>secret-a</p>';f.onload=()=>"
        "{f.contentDocument.body.innerHTML='<p title=secret-t>secret-n</p>'};f.src='/b'}</script>",
        None,
    ),
    "frame write": (
        "<div BLOCK><iframe id=f></iframe></div>"
        "<script>function later(){const d=f.contentDocument;d.open();d.write('<p>secret-w</p>');"
        "d.close();setTimeout(()=>d.body.append('secret-x'),20)}</script>",
        None,
    ),
    "frame pw": (
        "<iframe id=f SHOW></iframe>"
        "<script>f.contentDocument.body.innerHTML='<input type=password id=q>';function later(){const "
        "d=f.contentDocument,i=d.getElementById('q');i.type='text';i.value='secret-p';"
        "i.dispatchEvent(new Event('input',{bubbles:true}))}</script>",
        None,
    ),
    "frame pw write": (
        "<iframe id=f SHOW></iframe>"
        "<script>function later(){const d=f.contentDocument;d.open();d.write('<input type=password id=q>"
        "');d.close();const i=d.getElementById('q');i.type='text';i.value='secret-p';i.dispatchEvent(new "
        "Event('input',{bubbles:true}))}</script>",
        None,
    ),
    "escapes": (
        "<p MASK style=\"-\\-x: secret-1; c\\6fntent: 'secret-2'; --y: 'secret-3'\"></p>",
        None,
    ),
    "editors": (
        "<div class=CodeMirror><textarea></textarea><pre>secret-cm</pre></div><div class='monaco-editor "
        "x'><div class=view-lines>secret-mo</div></div><div class=ace_editor><div>secret-ace</div></div>",
        None,
    ),
    "slot assign": (
        "<x-a id=h><b id=b>x</b></x-a>"
        "<script>const r=h.attachShadow({mode:'open',slotAssignment:'manual'});r.innerHTML='<div MASK>"
        "<slot></slot></div><slot></slot>';r.querySelectorAll('slot')[1].assign(b);function "
        "later(){r.querySelector('slot').assign(b);b.firstChild.data='secret-s'}</script>",
        None,
    ),
    "slot attr": (
        "<x-a id=h><b id=b>x</b></x-a>"
        "<script>const r=h.attachShadow({mode:'open'});r.innerHTML='<div MASK><slot name=m></slot></div>"
        "<slot></slot>';function later(){b.slot='m';b.firstChild.data='secret-s'}</script>",
        None,
    ),
    "rule class toggled": (
        "<p id=p class=x>x</p><script>function later(){p.className='m';p.textContent='secret-1'}</script>",
        rules(mask=[".m"]),
    ),
    "rule sibling": (
        "<i id=i></i><p id=p>x</p><script>function later(){i.className='on';p.textContent='secret-1'}</script>",
        rules(mask=[".on + p"]),
    ),
    "rule has": (
        "<div id=d><p>x</p></div>"
        "<script>function later(){d.insertAdjacentHTML('beforeend','<i class=pay></i>');"
        "d.firstChild.textContent='secret-1'}</script>",
        rules(block=["div:has(> .pay)"]),
    ),
    "rule shadow": (
        "<x-a id=h></x-a>"
        "<script>const r=h.attachShadow({mode:'open'});r.innerHTML='<p class=m>secret-1</p>';function "
        "later(){r.innerHTML='<section><p class=m title=secret-2>secret-3</p></section>'}</script>",
        rules(mask=[".m"]),
    ),
    "rule frame": (
        "<iframe id=f></iframe>"
        "<script>f.contentDocument.body.innerHTML='<p class=m>secret-1</p>';function "
        "later(){f.contentDocument.body.innerHTML='<section><p class=m title=secret-2>secret-3</p>"
        "</section>'}</script>",
        rules(block=[".m"]),
    ),
    "rule path": (
        "<p id=p>x</p><script>function later(){history.pushState(0,'','/pay');p.textContent='secret-1'}</script>",
        rules("/pay", mask=["p"]),
    ),
    "rule path pause": (
        "<p id=p>x</p>"
        "<script>function later(){p.textContent='secret-1';history.pushState(0,'','/pay');setTimeout(()=>"
        "p.title='secret-2',10)}</script>",
        rules("/pay", pause="x"),
    ),
    "rule path frame": (
        "<iframe src=/pay id=f></iframe>"
        "<script>f.onload=()=>{f.contentDocument.body.innerHTML='<p>secret-1</p>'};function "
        "later(){f.contentDocument.body.innerHTML='<p>secret-2</p>'}</script>",
        rules("/pay", pause="x"),
    ),
    "rule path frame mask": (
        "<iframe src=/pay id=f></iframe>"
        "<script>f.onload=()=>{f.contentDocument.body.innerHTML='<p>secret-1</p>'};function "
        "later(){f.contentDocument.body.innerHTML='<p>secret-2</p>'}</script>",
        rules("/pay", mask=["p"]),
    ),
    "rule attr": (
        "<p data-a=secret-1 title=secret-2 data-ab=secret-3>x</p>"
        "<script>function later(){document.querySelector('p').setAttribute('data-a','secret-4')}</script>",
        rules(deny_attributes=["data-a*", "title"]),
    ),
    "sandbox srcdoc": (
        "<iframe sandbox srcdoc='<p>secret-1</p>'></iframe><iframe MASK srcdoc='<p>secret-2<iframe "
        "srcdoc=secret-3></iframe>'></iframe>",
        None,
    ),
    "multi select": (
        "<select multiple SHOW><option value=plain-1 selected>a</option><option MASK value=secret-2 "
        "selected>secret-3</option></select>",
        None,
    ),
    "media": (
        "<video BLOCK src=/secret.mp4 id=v></video>",
        None,
    ),
    "nested opposite": (
        "<div MASK><div SHOW><div SHOW><p title=secret-1>secret-2</p><input value=secret-3></div></div></div>",
        None,
    ),
    "textarea default": (
        "<textarea SHOW id=t autocomplete=cc-number>secret-1</textarea>"
        "<script>function later(){t.defaultValue='secret-2';t.textContent='secret-3'}</script>",
        None,
    ),
    "input attr": (
        "<input id=i name=a value=secret-1>"
        "<script>function later(){i.setAttribute('value','secret-2');i.defaultValue='secret-3'}</script>",
        None,
    ),
    "option selected": (
        "<select name=a><option value=secret-1 selected>x<option>y</select>"
        "<script>function later(){document.querySelector('select').selectedIndex=0;"
        "document.querySelector('option').setAttribute('selected','')}</script>",
        None,
    ),
    "stylesheet nested": (
        "<div MASK><style id=s>@media all { .a::after { content: 'secret-1' } } @supports (display:grid) "
        '{ .b::before { content: "secret-2" } } @layer x { .c { --z: secret-3 } } @property --p { '
        "syntax: '*'; inherits: false; initial-value: 'secret-4' } .d { &::after { content: 'secret-5' } "
        "}</style></div>"
        "<script>function later(){s.sheet.cssRules[0].insertRule('.z::after{content:\"secret-6\"}');"
        "s.sheet.cssRules[0].cssRules[0].style.content='\"secret-7\"';"
        "s.firstChild.data+='.y::after{content:\"secret-8\"}'}</script>",
        None,
    ),
    "own marks removed": (
        "<div id=d MASK><p>secret-1</p></div>"
        "<script>function later(){d.outerHTML='<div MASK>'+d.innerHTML+'</div>'}</script>",
        None,
    ),
    "table adopt": (
        "<table><tbody MASK id=b></tbody><tbody id=o><tr><td>x</td></tr></tbody></table>"
        "<script>function later(){const r=o.firstChild;b.append(r);r.firstChild.textContent='secret-1'}"
        "</script>",
        None,
    ),
    "clone into": (
        "<div BLOCK id=b></div><template id=t><p>secret-1</p></template>"
        "<script>function later(){b.append(t.content.cloneNode(true));b.attachShadow({mode:'open'}"
        ").append(t.content.cloneNode(true))}</script>",
        None,
    ),
    "dialog": (
        "<dialog MASK id=d><p>secret-1</p></dialog><div popover MASK id=p>secret-2</div>"
        "<script>function later(){d.showModal();p.showPopover();d.returnValue='secret-3'}</script>",
        None,
    ),
    "execCommand": (
        "<div contenteditable id=e>x</div>"
        "<script>function later(){e.focus();document.execCommand('insertText',false,'secret-1');"
        "document.execCommand('insertHTML',false,'<b title=secret-2>secret-3</b>')}</script>",
        None,
    ),
    "password text node": (
        "<div SHOW id=w><input type=password id=q></div>"
        "<script>function later(){q.value='secret-1';w.insertAdjacentHTML('beforeend','<input type=text "
        "id=r>');r.value=q.value;q.remove()}</script>",
        None,
    ),
    "pw hidden toggled": (
        "<div SHOW id=w><input type=password id=q><input type=text id=r hidden></div>"
        "<script>function later(){r.value='secret-1';r.hidden=false;q.hidden=true;r.dispatchEvent(new "
        "Event('input',{bubbles:true}))}</script>",
        None,
    ),
    "xhtml ns": (
        "<svg><foreignObject><div xmlns=http://www.w3.org/1999/xhtml MASK>secret-1<input value=secret-2>"
        "</div></foreignObject></svg>",
        None,
    ),
    "is": (
        "<button is=x-b MASK value=secret-1>secret-2</button><output MASK value=x>secret-3</output><li "
        "MASK value=4711>secret-4</li>",
        None,
    ),
    "popover target": (
        "<button popovertarget=secret-id MASK command=secret-c commandfor=secret-f>x</button><label MASK>"
        "secret-l</label>",
        None,
    ),
}
