// Shows what happens as it happens: whenever the sandbox says that there is news, the page is fetched again and its parts are put in the place
// of the old ones. So there is one way to draw it, and without this script a reload shows the same.
'use strict';

const live = document.getElementById('live');
let waiting = false;

async function refresh() {
  waiting = false;
  const answer = await fetch('/', { cache: 'no-store' }).catch(() => null);
  if (!answer?.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const part of document.querySelectorAll('[data-live]')) {
    const other = next.getElementById(part.id);
    if (other) replace(part, other);
  }
}

// What somebody opened, closed or has the focus on stays so.
function replace(part, other) {
  const before = new Map([...part.querySelectorAll('details[id]')].map((each) => [each.id, each.open]));
  // The newest is open by itself, until there is a newer one.
  const [newest, newer] = [part, other].map((from) => from.querySelector('details[id]')?.id);
  for (const each of other.querySelectorAll('details[id]')) {
    if (before.has(each.id) && (each.id !== newest || newest === newer)) each.open = before.get(each.id);
  }
  if (other.innerHTML === part.innerHTML) return;
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const id = focused?.closest('[id]').id;
  part.replaceChildren(...other.childNodes);
  if (focused) (document.querySelector(`#${id} > summary`) ?? document.getElementById(id))?.focus();
}

function news(event) {
  if (event.lastEventId) live.dataset.after = event.lastEventId;
  if (waiting) return;
  waiting = true;
  setTimeout(refresh, 100);
}

function listen() {
  const events = new EventSource(`/sandbox/events/stream?after=${live.dataset.after}`);
  events.onmessage = news;
  events.addEventListener('verdict', news);
  events.onopen = () => say('Live', true);
  events.onerror = () => {
    say('Not connected; trying again', false);
    // It tries again by itself, unless it was turned away.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

function say(text, on) {
  live.textContent = text;
  live.classList.toggle('on', on);
}

listen();
