// Icons of our panels, in the style of GraphiQL's own.

const shared = { viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', strokeWidth: 1.5, strokeLinecap: 'round' };

export const PersonIcon = (props) => (
  <svg height="1em" width="1em" {...shared} {...props}>
    <circle cx="12" cy="8" r="4" />
    <path d="M4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5" />
  </svg>
);

export const LiveIcon = (props) => (
  <svg height="1em" width="1em" {...shared} {...props}>
    <circle cx="12" cy="12" r="1.8" fill="currentColor" />
    <path d="M8.2 8.2a5.4 5.4 0 0 0 0 7.6M15.8 8.2a5.4 5.4 0 0 1 0 7.6" />
    <path d="M5 5a9.9 9.9 0 0 0 0 14M19 5a9.9 9.9 0 0 1 0 14" />
  </svg>
);
