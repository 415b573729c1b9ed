// The address holds what is shown: #c-ID a call, #calls?q=...&sort=-latency&c=ID a view of the table.
const state = { q: '', sort: '', c: '', rule: '', bad: '' };
for (const [facet] of FACETS) state[facet] = '';

function read() {
  const hash = location.hash.slice(1);
  for (const key of Object.keys(state)) state[key] = '';
  if (hash.startsWith('c-')) state.c = decodeURIComponent(hash.slice(2));
  else if (hash.startsWith('calls?')) {
    for (const [key, value] of new URLSearchParams(hash.slice(6))) if (key in state) state[key] = value;
  } else return false;
  return true;
}

function write() {
  const { c, ...rest } = state;
  const view = new URLSearchParams(Object.entries(rest).filter(([, value]) => value));
  if (view.size && c) view.set('c', c);
  const hash = view.size ? '#calls?' + view : c ? '#c-' + encodeURIComponent(c) : '#calls';
  history.replaceState(null, '', hash);
}

async function boot() {
  const calls = new Calls(await inflate('island').arrayBuffer());
  let table = null, detail = null;
  const open = (row) => { state.c = calls.id(row); write(); detail.show(row); };
  const close = () => { state.c = ''; write(); detail.hide(); };
  const step = (by) => { table.move(table.at + by); open(table.rows[table.at]); };
  detail = new Detail(calls, step, close);
  table = new Table(calls, state, write, open);
  const route = (first) => {
    if (!read()) { if (first) table.refresh(false); return; }
    table.refresh(false);
    const row = state.c ? calls.find(state.c) : -1;
    if (location.hash.startsWith('#calls?')) by('calls').scrollIntoView();
    if (row < 0) { detail.hide(); return; }
    const at = table.rows.indexOf(row);
    if (at >= 0) table.move(at);
    detail.show(row);
  };
  addEventListener('hashchange', () => route(false));
  // a second click on the same link changes no address
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#c-"]');
    if (link && link.hash === location.hash) route(false);
  });
  document.addEventListener('keydown', (event) => {
    const typing = event.target.matches('input, select, textarea');
    if (event.key === 'Escape') {
      if (detail.row >= 0) close();
      else if (typing) event.target.blur();
    } else if (event.key === '/' && !typing) {
      event.preventDefault();
      table.search.focus();
    } else if (!typing && detail.row >= 0 && (event.key === 'j' || event.key === 'k') && !event.defaultPrevented) {
      step(event.key === 'j' ? 1 : -1);
    }
  });
  route(true);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  table.prepare();
}

theme();
follow();
if (by('table') && typeof DecompressionStream === 'function') {
  boot().catch((error) => { document.documentElement.dataset.broken = String(error); });
}
