// The panel "Live": which subscriptions run, in whichever tab they were begun, and what has arrived.

import { Button } from '@graphiql/react';

import { castFor, nameOf } from './cast.js';
import { LiveIcon } from './icons.jsx';
import { begin, clearEvents, live } from './live.js';
import { useObserved } from './observed.js';
import { people } from './people.js';
import { story } from './story.js';

const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

const FOLLOW = `subscription Follow($jobId: ID!, $after: String) {
  jobUpdated(jobId: $jobId, after: $after) {
    cursor
    changes
    previousStatus
    job { id version status title }
  }
}`;

// The job that the tab Post has posted: what happens to it shows while the tabs after it are run.
// From where Feed stood, if it was run, so that nothing is missed when the first connection is lost.
function follow(jobId, after = null) {
  const cast = castFor('Post', 'follow');
  const operation = { query: FOLLOW, operationName: 'Follow', variables: { jobId, after } };
  begin({ tab: `follow ${jobId}`, title: 'Follow', person: cast.person?.id ?? null, who: nameOf(cast.person ? cast : {}), operation });
}

function Running({ streams }) {
  if (!streams.length) return <p className="lw-note">No subscription runs. Begin one in the tab Subscribe.</p>;
  return (
    <ul className="lw-list" aria-label="Running">
      {streams.map((stream) => (
        <li key={stream.tab} className="lw-person">
          <span>
            <strong>{stream.title}</strong> <small>as {stream.who}</small>
            <small className={`lw-status lw-${stream.status.replace(' ', '-')}`}>
              {stream.status}, {stream.count} {stream.count === 1 ? 'event' : 'events'}
            </small>
          </span>
          <Button type="button" aria-label={`Stop ${stream.title}`} onClick={() => stream.stop()}>
            Stop
          </Button>
        </li>
      ))}
    </ul>
  );
}

function Panel() {
  const { streams, events } = useObserved(live);
  const { jobId, after } = useObserved(story);
  useObserved(people);
  const follows = streams.some(({ tab }) => tab === `follow ${jobId}`);
  return (
    <section className="lw-panel" aria-label="Live">
      <h2>Live</h2>
      <p className="lw-note">
        A subscription goes on while you are in other tabs. After a lost connection or a token&rsquo;s end it comes back by
        itself and misses nothing.
      </p>
      <Running streams={streams} />
      {jobId && !follows && (
        <Button type="button" onClick={() => follow(jobId, after)}>
          Follow the job that you posted
        </Button>
      )}
      <div className="lw-head">
        <h3>Events</h3>
        {events.length > 0 && (
          <Button type="button" onClick={clearEvents}>
            Clear
          </Button>
        )}
      </div>
      <ol className="lw-events" aria-label="Events" aria-live="polite">
        {events.map(({ key, at, title, person, text }) => (
          <li key={key}>
            <small>
              {time.format(at)} · {title} · {person}
            </small>
            <pre tabIndex={0}>{text}</pre>
          </li>
        ))}
      </ol>
    </section>
  );
}

export const LIVE_PLUGIN = { title: 'Live', icon: LiveIcon, content: Panel };
