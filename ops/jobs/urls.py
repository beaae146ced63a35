from django.urls import path

from ops.jobs import views

urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<uuid:job_id>/", views.job, name="job"),
    path("jobs/<uuid:job_id>/<slug:verb>/", views.act_on_job, name="act_on_job"),
    path("jobs/all/<slug:verb>/", views.act_on_all, name="act_on_all"),
    path("queues/", views.queues, name="queues"),
    path("queues/<slug:verb>/", views.act_on_queues, name="act_on_queues"),
    path("batches/<uuid:batch_id>/", views.batch, name="batch"),
    path("batches/<uuid:batch_id>/stop/", views.stop_batch, name="stop_batch"),
]
