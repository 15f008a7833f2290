// The demo shop: what a site does with site_connect. Its own parts speak by `~/shop/…`, which never leaves the page.

const PRODUCTS = [
  { id: "boots", name: "Tarn boots", price: 129, hue: 24, text: "Waxed leather, resoleable, warm to -5 °C.", shape: "M30 20h26v34l34 14q8 4 8 18H30z" },
  { id: "jacket", name: "Fell jacket", price: 189, hue: 205, text: "Three layers, a hood that turns with you.", shape: "M44 18h32l22 16-10 18-10-6v46H42V46l-10 6-10-18z" },
  { id: "flask", name: "Brook flask", price: 34, hue: 160, text: "0.7 litres, hot for twelve hours.", shape: "M46 16h28v12h6v62q0 6-6 6H46q-6 0-6-6V28h6z" },
  { id: "tent", name: "Moor tent", price: 349, hue: 95, text: "Two people, 1.9 kg, up in four minutes.", shape: "M60 20 104 92H72L60 66 48 92H16z" },
  { id: "lamp", name: "Bothy lamp", price: 58, hue: 48, text: "Forty hours on one charge.", shape: "M48 22h24l12 42H36zM44 70h32v24H44z" },
  { id: "stove", name: "Burn stove", price: 76, hue: 350, text: "Boils a litre in three minutes.", shape: "M28 40h64l-8 28H36zM40 72h40v22H40z" },
];
const get = (id) => document.getElementById(id);
const bus = (topic, fun) => window.site_connect.subscribe(`~/shop/${topic}`, ({ payload }) => fun(payload));
const tell = (topic, payload) => window.site_connect.publish(`~/shop/${topic}`, payload);
const cart = () => JSON.parse(sessionStorage.getItem("cart") ?? "{}");

function put(id, count) {
  const next = { ...cart(), [id]: Math.max(0, (cart()[id] ?? 0) + count) };
  if (!next[id]) delete next[id];
  sessionStorage.setItem("cart", JSON.stringify(next));
  tell("cart", next);
}

function element(name, properties, ...children) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children);
  return found;
}

function picture({ hue, shape, name }) {
  const box = element("div", { className: "picture" });
  box.innerHTML = `<svg viewBox="0 0 120 110" role="img"><title></title><rect width="120" height="110" rx="10" fill="hsl(${hue} 60% 92%)"/><path d="${shape}" fill="hsl(${hue} 45% 42%)"/></svg>`;
  box.querySelector("title").textContent = name;
  return box;
}

const money = (sum) => `€ ${sum}`;

function add(product) {
  const button = element("button", { type: "button", className: "button", textContent: "Add to cart" });
  button.setAttribute("aria-label", `Add ${product.name} to cart`);
  button.addEventListener("click", () => put(product.id, 1));
  return button;
}

function card(product) {
  const link = element("a", { href: `product.html?p=${product.id}` }, picture(product), element("h2", {}, product.name));
  return element("li", {}, link, element("p", {}, money(product.price)), add(product));
}

function line([id, count]) {
  const { name, price } = PRODUCTS.find((each) => each.id === id);
  const less = element("button", { type: "button", ariaLabel: `One ${name} less`, textContent: "−" });
  less.addEventListener("click", () => put(id, -1));
  return element("li", {}, element("span", {}, `${count} × ${name}`), element("b", {}, money(count * price)), less);
}

function showCart(content) {
  const entries = Object.entries(content);
  const sum = entries.reduce((total, [id, count]) => total + count * PRODUCTS.find((each) => each.id === id).price, 0);
  get("count").textContent = String(entries.reduce((total, [, count]) => total + count, 0));
  get("cart")?.replaceChildren(...(entries.length ? entries.map(line) : [element("li", {}, "There is nothing in it yet.")]));
  if (get("total")) get("total").textContent = `Together ${money(sum)}`;
}

bus("cart", showCart);
showCart(cart());
get("products")?.append(...PRODUCTS.map(card));
if (get("product")) {
  const product = PRODUCTS.find(({ id }) => id === new URLSearchParams(location.search).get("p")) ?? PRODUCTS[0];
  const words = element("div", {}, element("h1", {}, product.name), element("p", { className: "lead" }, product.text));
  words.append(element("p", { className: "price" }, money(product.price)), add(product));
  get("product").append(picture(product), words);
}
get("checkout")?.addEventListener("submit", (event) => {
  event.preventDefault();
  get("done").textContent = "Thank you. In a real shop something would happen now.";
});

// Site-connect: help shows the frame; chat can be asked for while an agent is available.
get("help").addEventListener("click", () => window.site_connect.publish("~pagesession/show_frame"));
get("chat").addEventListener("click", () => window.site_connect.publish("~pagesession/chat/trigger", { button: "help" }));
for (const turn of ["enabled", "disabled"]) {
  window.site_connect.subscribe(`~/site_connect/chat_button/help/${turn}`, () => {
    get("chat").disabled = turn === "disabled";
  });
}
