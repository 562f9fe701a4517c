// GraphiQL's state for the modules that are no components.
//
// Tabs that are not shown are changed in place: GraphiQL has no action for them, reads them when they are shown, and
// draws nothing of them but the title.

let state = { tabs: [], activeTabIndex: 0 };

// Called with GraphiQL's state at each of its changes.
export const follow = (next) => {
  state = { ...state, ...next };
};

export const activeTab = () => state.tabs[state.activeTabIndex];

export const hasTab = (id) => state.tabs.some((tab) => tab.id === id);

// Whether its person looks at the tab.
export const isActive = (id) => activeTab()?.id === id;

// Gives the variables of each tab to `edit(tab, text)`, which gives back what they are to be.
export function editVariables(edit) {
  const active = activeTab();
  let stored = false;
  for (const tab of state.tabs) {
    const text = tab === active ? state.variableEditor?.getValue() : tab.variables;
    const next = text && edit(tab, text);
    if (!next || next === text) continue;
    if (tab === active) state.variableEditor.setValue(next);
    else {
      tab.variables = next;
      stored = true;
    }
  }
  if (stored) state.actions.storeTabs({ tabs: state.tabs, activeTabIndex: state.activeTabIndex });
}

// Shows an answer in the tab that asked for it, be it the active one or not.
export function showResponse(id, result) {
  const response = JSON.stringify(result, null, 2);
  if (isActive(id)) {
    state.responseEditor?.setValue(response);
    state.actions.updateActiveTabValues({ response });
    return;
  }
  const tab = state.tabs.find((each) => each.id === id);
  if (tab) tab.response = response;
}
