//! Work that waits for the disk, off the thread that polls.

use futures::channel::oneshot;

/// Does a job on a thread of its own, so that no runtime is needed and none is held up; none if there was no thread.
///
/// The job is done to its end even if nobody waits for it any more.
pub(super) async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let work = move || {
        // Whoever asked may be gone.
        let _ = reply.send(job());
    };
    std::thread::Builder::new().name("eventcore".to_owned()).spawn(work).ok()?;
    answer.await.ok()
}
