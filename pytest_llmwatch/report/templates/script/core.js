// Helpers. Text reaches the page through textContent only; no markup is ever parsed here.
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/u;
const by = (id) => document.getElementById(id);

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (key === 'class') node.className = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children) if (child !== null && child !== undefined && child !== '') node.append(child);
  return node;
}

// Append text with control, bidirectional and invisible characters shown as their code.
function show(parent, text) {
  let rest = String(text);
  for (let hit = CONTROL.exec(rest); hit; hit = CONTROL.exec(rest)) {
    if (hit.index) parent.append(rest.slice(0, hit.index));
    const code = 'U+' + hit[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    parent.append(make('span', { class: 'ctl', title: code }, code));
    rest = rest.slice(hit.index + hit[0].length);
  }
  parent.append(rest);
  return parent;
}

function decode(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function inflate(id) {
  const bytes = decode(by(id).textContent.slice(1, -1));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')));
}

const NONE = '–';
// NaN is what a column has where nothing is known. Intl takes as long to start as the table does.
const unknown = (value) => value === null || value === undefined || value !== value;
const number = (value) => (unknown(value) ? NONE : String(value).replace(/\B(?=(\d{3})+$)/g, ','));
function seconds(value) {
  if (unknown(value)) return NONE;
  const digits = value >= 1000 ? 0 : value >= 100 ? 1 : value >= 0.1 ? 2 : value ? 3 : 0;
  return value.toFixed(digits) + ' s';
}
function dollars(value) {
  if (unknown(value)) return NONE;
  if (value >= 1 || value === 0) return '$' + value.toFixed(2);
  return '$' + value.toFixed(Math.max(4, 1 - Math.floor(Math.log10(value))));
}
const share = (thousandths) => (unknown(thousandths) ? NONE : (thousandths / 1000).toFixed(3));
const words = (text) => String(text).replaceAll('_', ' ');

function theme() {
  const root = document.documentElement, button = by('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  try { chosen = localStorage.getItem('llmwatch-theme'); } catch { chosen = null; }
  if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;
  const dark = () => (root.dataset.theme || (system.matches ? 'dark' : 'light')) === 'dark';
  const label = () => { button.textContent = dark() ? 'Light' : 'Dark'; };
  button.hidden = false;
  button.addEventListener('click', () => {
    root.dataset.theme = dark() ? 'light' : 'dark';
    try { localStorage.setItem('llmwatch-theme', root.dataset.theme); } catch { /* a file may not store */ }
    label();
  });
  system.addEventListener('change', label);
  label();
}

// Mark the section in view in the list of contents.
function follow() {
  const links = new Map([...document.querySelectorAll('.rail li a')].map((a) => [a.hash.slice(1), a]));
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) seen[entry.isIntersecting ? 'add' : 'delete'](entry.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) link.classList.toggle('here', id === first);
  }, { rootMargin: '-10% 0px -60% 0px' });
  for (const id of links.keys()) if (by(id)) watch.observe(by(id));
}
