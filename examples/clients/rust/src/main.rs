//! Prints the open jobs, then every change of a job, for ever.

#[tokio::main]
async fn main() -> Result<(), lancewire_client_example::Error> {
    let url = std::env::var("URL").unwrap_or_else(|_| "http://127.0.0.1:4000/graphql".to_owned());
    // Asked for each connection: give the newest access token here to see what is not public.
    let token = async || std::env::var("TOKEN").ok();
    lancewire_client_example::follow(&url, token, |job| println!("{job}")).await
}
