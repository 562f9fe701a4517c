//! Guessing passwords takes longer and longer, whoever guesses from where.

use super::*;
use crate::on_both_clocked;

on_both_clocked! {
    async fn guesses_at_one_mailbox_count_together(app: TestApp, _clock: Clock) {
        app.anonymous().mutate("signUp", account("guessed@bücher.example"), PAIR).await.good();
        let spellings = ["guessed@bücher.example", "GUESSED@xn--bcher-kva.example", "guessed＠BÜCHER.example"];
        for number in 0..6 {
            sign_in(&app, spellings[number % 3], "a wrong password").await.refused("INVALID_CREDENTIALS");
        }
        for spelling in spellings {
            sign_in(&app, spelling, PASSWORD).await.refused("TOO_MANY_ATTEMPTS");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_one_account_take_longer_and_longer() {
    let (app, clock) = frozen(Database::Sqlite, "").await;
    let ada = app.freelancer("Ada").await;
    let wrong = async || sign_in(&app, &ada.email, "a wrong password").await;
    let wait = |error: &Value| error["retryAfterMs"].as_u64();
    let too_many = async |password: &str| {
        let input = json!({ "input": { "email": ada.email, "password": password } });
        let query = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } errors { \
                     ... on TooManyAttemptsError { code retryAfterMs } } } }";
        let reply = app.http.graphql(None, query, input).await;
        assert_eq!(reply.at("/data/signIn/session"), &Value::Null, "{reply}");
        reply.at("/data/signIn/errors/0").clone()
    };
    for _ in 0..6 {
        wrong().await.refused("INVALID_CREDENTIALS");
    }
    for seconds in [1, 2, 4, 8] {
        let error = too_many(PASSWORD).await;
        assert_eq!((&error["code"], wait(&error)), (&json!("TOO_MANY_ATTEMPTS"), Some(seconds * 1_000)), "{error}");
        clock.advance(Duration::from_millis(seconds * 1_000 - 1));
        assert_eq!(wait(&too_many(PASSWORD).await), Some(1), "a refused attempt does not prolong the wait");
        clock.advance(Duration::from_millis(1));
        wrong().await.refused("INVALID_CREDENTIALS");
    }
    // Other accounts are not delayed, and the owner can sign in once the wait is over.
    app.freelancer("Ben").await.sign_in_again().await;
    ada.run("{ viewer { id } }", json!({})).await.data();
    clock.advance(Duration::from_secs(16));
    sign_in(&app, &ada.email, PASSWORD).await.good();
    for _ in 0..6 {
        wrong().await.refused("INVALID_CREDENTIALS");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_from_one_address_take_longer_too() {
    let (app, clock) = frozen(Database::Sqlite, "[auth]\nfree_attempts_per_address = 3").await;
    let ada = app.freelancer("Ada").await;
    for number in 0..4 {
        let email = format!("nobody-{number}@example.com");
        sign_in(&app, &email, PASSWORD).await.refused("INVALID_CREDENTIALS");
    }
    sign_in(&app, &ada.email, PASSWORD).await.refused("TOO_MANY_ATTEMPTS");
    refresh(&app, &ada.refresh_token).await.refused("TOO_MANY_ATTEMPTS");
    app.anonymous().mutate("signUp", account("new@example.com"), PAIR).await.refused("TOO_MANY_ATTEMPTS");
    clock.advance(Duration::from_secs(1));
    sign_in(&app, &ada.email, PASSWORD).await.good();
    app.finish().await;
}
