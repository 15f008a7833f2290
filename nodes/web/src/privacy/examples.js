// What the page to try rules on begins with: {name, address, html, rules}, and how all of these pages look.

export const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; margin: 20px; color: #1c2430 }
  h1 { font-size: 22px; margin: 0 0 12px } label { display: block; margin: 8px 0 }
  input, select, textarea { font: inherit; padding: 6px 10px; border: 1px solid #b8c2cf; border-radius: 8px }
  .card { padding: 14px 16px; border: 1px solid #d9e0e8; border-radius: 12px; margin: 12px 0 }
  .price { font-weight: 600; color: #0f766e }
`;

export const EXAMPLES = [
  {
    name: "A checkout",
    address: "https://shop.example.org/checkout",
    html: `<h1>Checkout</h1>
<p>Two lamps <span class="price">248.00</span></p>

<div class="card">
  <label>Name <input name="name" value="Robin Hale"></label>
  <label data-site-connect-show>Delivery note <input name="note" value="Ring twice"></label>
</div>

<form class="card" data-site-connect-show>
  <label>Gift message <input name="gift" value="For you"></label>
  <label>Card number <input value="4000 0000 0000 0002"></label>
  <label>Security code <input value="123" size="4"></label>
  <label>Password <input type="password" value="correct horse"></label>
</form>

<p data-site-connect-mask title="Balance">You have 1,480 points.</p>
<div class="card" data-site-connect-block>Saved card: ends in 1881</div>
`,
    rules: `# Try: block the whole card, or another page
[[rules]]
mask = [".price"]

[[rules]]
pages = ["https://shop.example.org/checkout/pay"]
pause = "payment page"
`,
  },
  {
    name: "An account, hidden by rules",
    address: "https://bank.example.org/account/7",
    html: `<h1>Your account</h1>
<nav><a href="/home">Home</a> · <a href="/help?topic=fees">Help</a></nav>
<div class="card"><b>Current account</b><br>Balance <span class="price">12,904.17</span></div>
<div class="card"><b>Last payments</b><br>Grocer 23.10<br>Rent 980.00</div>
<footer>Call us: 0800 100 100</footer>
`,
    rules: `[[rules]]
pages = ["https://bank.example.org/account/*"]
private = true
show = ["h1", "nav", "footer", "b"]
`,
  },
  {
    name: "Components and frames",
    address: "https://shop.example.org/",
    html: `<h1>Components</h1>
<div data-site-connect-mask>
  <template shadowrootmode="open"><p class="card">In a shadow root: order 4711</p></template>
</div>
<p>A frame, masked:</p>
<iframe data-site-connect-mask width="300" height="80" srcdoc="<p>In a frame: order 4712</p>"></iframe>
<p contenteditable>An editor: what is typed here is masked.</p>
<select><option>One</option><option>Two</option></select>
<label><input type="checkbox" checked> Gift wrap</label>
`,
    rules: "",
  },
];

export const MARKS = ["data-site-connect-mask", "data-site-connect-block", "data-site-connect-show"];
