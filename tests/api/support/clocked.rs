//! Stories in which time stands still until they move it.

/// As [`on_both!`](crate::on_both), with the clock as a second argument.
#[macro_export]
macro_rules! on_both_clocked {
    (with $settings:expr; $(async fn $name:ident($app:ident: TestApp, $clock:ident: Clock) $story:block)+) => {$(
        mod $name {
            use super::*;

            async fn story($app: $crate::support::app::TestApp, $clock: lancewire::clock::Clock) $story

            async fn told_on(database: $crate::support::app::Database) {
                let clock = lancewire::clock::Clock::manual(lancewire::clock::Clock::system().now());
                let app = $crate::support::app::TestApp::start_with(database, $settings, clock.clone());
                let app = Box::pin(app).await;
                story(app.clone(), clock).await;
                app.finish().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                Box::pin(told_on($crate::support::app::Database::Sqlite)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                Box::pin(told_on($crate::support::app::Database::Postgres)).await;
            }
        }
    )+};
    ($($stories:tt)+) => {
        $crate::on_both_clocked! { with ""; $($stories)+ }
    };
}
