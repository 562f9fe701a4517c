// The playground: GraphiQL with the tabs of a job's life, a panel to sign in, and one for what arrives.

import './workers.js';
// One by one: `graphiql/style.css` holds the editor's styles and its font a second time.
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './style.css';

import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { pick, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { GraphiQL } from 'graphiql';
import { useEffect } from 'react';
import { createRoot } from 'react-dom/client';

import { activeTab, follow } from './bridge.js';
import { fetcher } from './fetcher.js';
import { LIVE_PLUGIN } from './Live.jsx';
import { streamOf } from './live.js';
import { RunsAs } from './RunsAs.jsx';
import { remember } from './secrets.js';
import { settings } from './settings.js';
import { SIGN_IN_PLUGIN } from './SignIn.jsx';
import { storageFor } from './storage.js';
import { tabs } from './story.js';

remember(settings.demoPassword);
const storage = storageFor(tabs);
const plugins = [HISTORY_PLUGIN, SIGN_IN_PLUGIN, LIVE_PLUGIN];

// Hands GraphiQL's state on, and takes a subscription up again when its person comes back to its tab.
function Bridge() {
  const actions = useGraphiQLActions();
  const state = useGraphiQL(
    pick(
      'tabs',
      'activeTabIndex',
      'queryEditor',
      'variableEditor',
      'responseEditor',
      'operationName',
      'subscription',
    ),
  );
  const { tabs: shown, activeTabIndex, operationName, subscription } = state;
  const { queryEditor, variableEditor, responseEditor } = state;
  // The editors come up with the tab that was in front when the page was opened; its person may have been faster.
  useEffect(() => {
    const { query, variables } = shown[activeTabIndex] ?? {};
    const show = (editor, text) => editor && editor.getValue() !== text && editor.setValue(text);
    show(queryEditor, query ?? '');
    show(variableEditor, variables ?? '');
  }, [queryEditor, variableEditor]);
  useEffect(() => {
    [queryEditor, variableEditor, responseEditor].forEach((editor) => editor?.updateOptions({ wordWrap: 'on' }));
  }, [queryEditor, variableEditor, responseEditor]);
  useEffect(() => {
    follow({ ...state, actions });
  });
  const tab = shown[activeTabIndex];
  // The editor has read the tab once it knows the operation's name.
  const isRead = tab && operationName === tab.operationName;
  useEffect(() => {
    if (isRead && !subscription && streamOf(tab.id) && activeTab()?.id === tab.id) actions.run();
  }, [isRead, tab?.id]);
  return null;
}

createRoot(document.getElementById('playground')).render(
  <GraphiQL
    fetcher={fetcher}
    storage={storage}
    defaultTabs={tabs}
    defaultEditorToolsVisibility="variables"
    shouldPersistHeaders={false}
    showPersistHeadersSettings={false}
    onTabChange={follow}
    plugins={plugins}
  >
    <GraphiQL.Logo>
      <RunsAs />
    </GraphiQL.Logo>
    <Bridge />
  </GraphiQL>,
);
